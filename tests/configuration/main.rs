//! Configurations: what is refused and how, what may be changed when, and roots that cannot be installed.

mod changes;
mod global;
mod names;
mod roots;
mod texts;
