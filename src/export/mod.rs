//! The blueprint in the words of other tools: a way out of ticketctl, and a proof of what it makes.

pub mod cloudformation;
