//! Everything that is tested from outside: one binary, because each one that links the AWS SDK takes long to build.

mod checks;
mod e2e;
mod gateway;
mod kinds;
mod localstack;
mod plane;
mod support;
mod sweep;
#[path = "../../app/tests/app/webdriver.rs"]
#[allow(dead_code, reason = "the application's tests use more of it")]
mod webdriver;
