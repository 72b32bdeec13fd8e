//! Amazon's private container registry, ECR.

/// Where an image lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registry<'a> {
    /// What a client logs in at.
    pub host: &'a str,
    /// Twelve digits.
    pub account: &'a str,
    /// Whose credentials it takes, and no other region's.
    pub region: &'a str,
}

/// The registry of `<account>.dkr.ecr.<region>.amazonaws.com/<repository>@…`; it wants a login. None is for all others.
pub fn private_registry(image: &str) -> Option<Registry<'_>> {
    let host = image.split('/').next()?;
    let mut parts = host.split('.');
    let (account, service) = (parts.next()?, (parts.next()?, parts.next()?));
    let region = parts.next()?;
    (service == ("dkr", "ecr")).then_some(Registry { host, account, region })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_tells_account_and_region() {
        let host = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
        let found = private_registry("123456789012.dkr.ecr.us-east-1.amazonaws.com/team/app@sha256:0");
        assert_eq!(found, Some(Registry { host, account: "123456789012", region: "us-east-1" }));
        for other in ["docker.io/library/app@sha256:0", "public.ecr.aws/team/app", "app", "a.dkr.ecr"] {
            assert_eq!(private_registry(other), None, "{other}");
        }
    }
}
