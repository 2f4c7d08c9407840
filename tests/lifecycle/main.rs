//! What becomes of a zone between `create` and `delete`: states, verbs, sessions, ends, and what outlives a daemon.

mod console;
mod copy;
mod exec;
mod inside;
mod monitor;
mod moves;
mod online;
mod pause;
mod persistence;
mod races;
mod states;
mod streams;
mod table;
