#![no_std]
//! The kernel side.
