//! The life of every kind of resource against an emulator: made, found as wished, changed, tagged, gone.

mod lifecycle;
mod messaging;
mod moto;
mod network;
