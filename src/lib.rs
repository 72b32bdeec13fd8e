//! ticketctl as a library: from one stack file to a working ticketing platform.

pub mod stack;
