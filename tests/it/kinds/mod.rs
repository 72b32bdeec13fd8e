//! The life of every kind of resource against an emulator: made, found as wished, changed, tagged, gone.

mod cache;
mod compute;
mod data;
mod edge;
mod lifecycle;
mod messaging;
mod monitoring;
mod network;
mod secrets;
mod storage;
