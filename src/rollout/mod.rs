//! How a new build gets onto the instances: artifact, release, rollout.

pub mod artifact;
mod elf;
mod errors;
pub mod fleet;
pub mod overview;
pub mod pause;
pub mod release;
pub mod rolling;
pub mod shift;
mod standby;
mod step;
mod upload;

pub use artifact::{Artifacts, Machine};
pub use upload::{is_there, upload};
