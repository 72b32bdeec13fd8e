//! Which of AWS's actions a stack needs, and the policy that allows them and nothing else.

mod kinds;
mod policy;

pub use kinds::{CERTIFICATE, GENERAL, actions_of};
pub use policy::{Place, Statement, document, statements};

/// The actions of a kind, as IAM names them: `ec2:CreateVpc`.
/// Source: <https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html>,
/// with those that an action depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Actions {
    /// To look for it, and to tell what is in its way.
    pub find: &'static [&'static str],
    /// To make it: there is nothing yet whose tags could be asked for.
    pub make: &'static [&'static str],
    /// To finish what was made.
    pub finish: &'static [&'static str],
    /// To change what is there.
    pub change: &'static [&'static str],
    pub delete: &'static [&'static str],
}

impl Actions {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &'static str> {
        [self.find, self.make, self.finish, self.change, self.delete].into_iter().flatten().copied()
    }
}
