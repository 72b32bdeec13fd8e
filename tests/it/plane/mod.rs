//! The data plane of the local cloud.

mod backend;
mod balancer;
