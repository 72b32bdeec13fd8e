//! Integration tests: the service over HTTP, on a MariaDB and a Redis of their own.

mod accounts;
mod contract;
mod faults;
mod races;
mod support;
