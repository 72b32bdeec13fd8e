//! The main job as people do it: the binary against an emulator behind the gateway, over real HTTP.

mod drift;
mod life;
mod limits;
mod mishaps;
mod operations;
mod refusals;
mod rollout;
mod safety;
mod secrets;
mod shift;
pub mod world;
