//! Roles and what puts them on instances.

use serde_json::json;

use super::{
    intrinsic::Fact,
    resource::{CloudFormation, Part, Resource},
};
use crate::resource::{
    InstanceProfile, Role,
    instance_profile::InstanceProfileSpec,
    role::{self, RoleSpec},
};

impl CloudFormation for Role {
    const TYPE: &'static str = "AWS::IAM::Role";

    fn fact(output: Option<&str>) -> Option<Fact> {
        match output {
            None => Some(Fact::Ref),
            Some("arn") => Some(Fact::Attribute("Arn")),
            Some(_) => None,
        }
    }

    /// Without ticketctl's path, which says that a role is ticketctl's.
    fn write(part: &Part<'_>, spec: RoleSpec) -> Resource {
        let RoleSpec { name, trust, policy } = spec;
        Resource::new::<Role>(json!({
            "RoleName": name,
            "AssumeRolePolicyDocument": trust,
            "Policies": [{"PolicyName": role::POLICY, "PolicyDocument": policy}],
            "Tags": part.tags(),
        }))
    }
}

impl CloudFormation for InstanceProfile {
    const TYPE: &'static str = "AWS::IAM::InstanceProfile";

    fn fact(output: Option<&str>) -> Option<Fact> {
        match output {
            None => Some(Fact::Ref),
            Some("arn") => Some(Fact::Attribute("Arn")),
            Some(_) => None,
        }
    }

    /// It has no tags in CloudFormation.
    fn write(_part: &Part<'_>, spec: InstanceProfileSpec) -> Resource {
        let InstanceProfileSpec { name, role } = spec;
        Resource::new::<InstanceProfile>(json!({"InstanceProfileName": name, "Roles": [role]}))
    }
}
