#![no_std]
//! Types and constants shared by the eBPF programs and user space.
