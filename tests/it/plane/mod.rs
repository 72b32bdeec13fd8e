//! The data plane: what is made through the API becomes processes that work, heal and go.

mod backend;
mod balancer;
mod cache;
mod database;
mod instance;
mod lifecycle;
mod scaling;
mod service;
mod site;
mod world;
