//! Integration tests: the service over HTTP, on a MariaDB and a Redis of their own.

mod accounts;
mod aftermath;
mod answers;
mod browser;
mod cache;
mod cancelled;
mod clocks;
mod cloud;
mod commands;
mod contract;
mod costs;
mod door;
mod failover;
mod faults;
mod fuzz;
mod live;
mod money;
mod oidc;
mod operations;
mod pages;
mod process;
mod queue;
mod races;
mod support;
mod traces;
mod webdriver;
