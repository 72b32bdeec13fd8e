//! The main job as people do it: the binary against an emulator behind the gateway, over real HTTP.

mod drift;
mod life;
mod limits;
mod mishaps;
mod rollout;
mod preflight;
mod safety;
pub mod world;
