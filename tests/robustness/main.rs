//! Clients that misbehave or vanish, by accident or on purpose: nobody else notices, and nothing is left of them.

mod messages;
mod shape;
mod vanishing;
