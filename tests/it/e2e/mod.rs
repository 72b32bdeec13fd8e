//! The main job as people do it: the binary against an emulator behind the gateway, over real HTTP.

mod drift;
mod life;
mod limits;
mod mishaps;
mod preflight;
mod rollout;
mod safety;
pub mod world;
