//! The local cloud: an AWS emulator behind a gateway that makes it answer as AWS does.

pub mod gateway;
