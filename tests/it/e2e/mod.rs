//! The main job as people do it: the binary against an emulator behind the gateway, over real HTTP.

mod any_stack;
mod cost;
mod drift;
mod life;
mod limits;
mod mishaps;
mod operations;
mod preflight;
mod refusals;
mod rollout;
mod safety;
mod secrets;
mod shift;
mod tags;
pub mod world;
