//! The data plane: what is made through the API becomes processes that work, heal and go.

mod backend;
mod balancer;
mod cache;
mod crowd;
mod database;
mod developer;
mod instance;
mod lifecycle;
mod probe;
mod scaling;
mod service;
mod site;
mod visitors;
mod world;
