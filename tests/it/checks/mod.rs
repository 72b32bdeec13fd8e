//! What others say of what we make: CloudFormation's schemas and checkov's rules of the exported templates, AWS's models of
//! the requests that are sent.

mod access;
mod environment;
pub mod requests;
mod templates;
