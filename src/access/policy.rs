//! The least policy: what is made is bound to the region, what is there to the stack's tags, names and paths.

use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

use super::{Actions, CERTIFICATE, GENERAL, actions_of};
use crate::{
    blueprint::{Blueprint, ec2_principal},
    resource::{self, Bucket, Kind, Listener, log_group, parameter},
    stack::name,
};

/// Where a policy is for.
#[derive(Clone, Debug)]
pub struct Place {
    pub partition: String,
    pub region: String,
    /// Twelve digits, or `*`.
    pub account: String,
}

/// One statement: these actions on these resources.
#[derive(Clone, Debug)]
pub struct Statement {
    pub sid: &'static str,
    pub actions: BTreeSet<&'static str>,
    pub resources: Vec<String>,
    /// Keys of the request's context and the values that they must have; all by `StringEquals`.
    pub conditions: BTreeMap<&'static str, Vec<String>>,
}

impl Statement {
    /// Whether nothing binds it but the resources that it names.
    fn only_names(&self) -> bool {
        self.conditions.is_empty() && self.resources.iter().all(|resource| resource != "*")
    }
}

/// What binds an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bond {
    /// AWS knows no resource for it: a listing, and a few others.
    Nothing,
    /// It makes something in EC2 that has no tags yet.
    Region,
    /// It tags something of EC2 as the stack's.
    NewTags,
    /// It changes something of EC2 that is tagged as the stack's.
    OwnTags,
    PassRole,
    ServiceLinkedRole,
    /// By the names that the stack's things have in a service.
    Names(&'static str),
}

/// The services that make themselves a role when they are first used in an account.
const ROLE_MAKERS: [&str; 4] = [
    "autoscaling.amazonaws.com",
    "elasticache.amazonaws.com",
    "elasticloadbalancing.amazonaws.com",
    "rds.amazonaws.com",
];
/// How much of a load balancer's name stays when it is shortened to 32 characters.
const KEPT: usize = 22;

/// The statements that a stack needs: the actions of its kinds, those of ticketctl itself, and what looks for and takes
/// away any kind: one that the stack no longer has is still to be deleted.
pub fn statements(blueprint: &Blueprint, place: &Place) -> Vec<Statement> {
    let kinds: BTreeSet<&str> = blueprint.nodes.values().map(|node| node.kind.as_str()).collect();
    let actions: Vec<Actions> = kinds.into_iter().filter_map(actions_of).collect();
    let made: BTreeSet<&str> = actions.iter().flat_map(|actions| actions.make.iter().copied()).collect();
    let every = resource::all().iter().filter_map(|kind| actions_of(kind.name()));
    let left = every.flat_map(|actions| [actions.find, actions.delete]).flatten().copied();
    let all = actions.iter().flat_map(Actions::all).chain(left).chain(GENERAL.iter().copied());
    let mut bound: BTreeMap<Bond, BTreeSet<&'static str>> = BTreeMap::new();
    for action in all {
        bound.entry(bond(action, made.contains(action))).or_default().insert(action);
    }
    let mut all: Vec<_> =
        bound.into_iter().map(|(bond, actions)| statement(bond, actions, &blueprint.stack, place)).collect();
    let resources = certificates(blueprint);
    if !resources.is_empty() {
        let actions = BTreeSet::from([CERTIFICATE]);
        all.push(Statement { sid: "Certificates", actions, resources, conditions: BTreeMap::new() });
    }
    all
}

/// The ARNs of the listeners' certificates: somebody else made these.
fn certificates(blueprint: &Blueprint) -> Vec<String> {
    let listeners = blueprint.nodes.values().filter(|node| node.kind == Listener::NAME);
    let arns: BTreeSet<&str> = listeners.filter_map(|node| node.spec["tls"]["certificate"].as_str()).collect();
    arns.into_iter().map(str::to_owned).collect()
}

/// The statements as an IAM policy document, as short as they can be: a role takes 10,240 characters, and a large stack
/// needs most of them. So they have no names, and those that only name resources are one.
pub fn document(statements: &[Statement]) -> Value {
    let (naming, others): (Vec<&Statement>, Vec<&Statement>) = statements.iter().partition(|one| one.only_names());
    let statement = |statement: &Statement| {
        let mut text = json!({
            "Effect": "Allow",
            "Action": short(&statement.actions),
            "Resource": short(&statement.resources),
        });
        if !statement.conditions.is_empty() {
            text["Condition"] = json!({"StringEquals": statement.conditions});
        }
        text
    };
    let all: Vec<Value> = others.into_iter().chain(&together(&naming)).map(statement).collect();
    json!({"Version": "2012-10-17", "Statement": all})
}

/// Statements that only name resources as one. It allows what they allow: an ARN has its service in it, and no two of them
/// are for one service.
fn together(statements: &[&Statement]) -> Option<Statement> {
    let actions: BTreeSet<_> = statements.iter().flat_map(|one| one.actions.iter().copied()).collect();
    let resources = statements.iter().flat_map(|one| one.resources.iter().cloned()).collect();
    (!actions.is_empty()).then(|| Statement { sid: "Names", actions, resources, conditions: BTreeMap::new() })
}

/// A list of one is written as that one.
fn short<'a, T: Serialize + 'a>(list: impl IntoIterator<Item = &'a T, IntoIter: ExactSizeIterator>) -> Value {
    let mut list = list.into_iter();
    match (list.len(), list.next()) {
        (1, Some(one)) => json!(one),
        (_, first) => first.into_iter().chain(list).map(|one| json!(one)).collect(),
    }
}

fn bond(action: &'static str, makes: bool) -> Bond {
    let (service, verb) = action.split_once(':').unwrap_or((action, ""));
    let lists = verb.starts_with("Describe") || verb.starts_with("List");
    match (service, verb) {
        ("iam", "PassRole") => Bond::PassRole,
        ("iam", "CreateServiceLinkedRole") => Bond::ServiceLinkedRole,
        ("iam", "SimulatePrincipalPolicy") | ("secretsmanager", "GetRandomPassword" | "ListSecrets") => Bond::Nothing,
        ("sns", "Unsubscribe") => Bond::Nothing,
        ("s3" | "sns", _) | ("secretsmanager", "DescribeSecret") => Bond::Names(service),
        ("sts" | "kms" | "servicequotas" | "route53", _) => Bond::Nothing,
        // Metrics belong to nobody.
        ("cloudwatch", "GetMetricStatistics") => Bond::Nothing,
        _ if lists => Bond::Nothing,
        ("ec2", "CreateTags") => Bond::NewTags,
        ("ec2", _) if makes => Bond::Region,
        ("ec2", _) => Bond::OwnTags,
        _ => Bond::Names(service),
    }
}

fn statement(bond: Bond, actions: BTreeSet<&'static str>, stack: &str, place: &Place) -> Statement {
    let Place { partition, region, account } = place;
    let everything = || vec!["*".to_owned()];
    let arn = |service: &str, resource: &str| format!("arn:{partition}:{service}:{region}:{account}:{resource}");
    let iam = |resource: &str| format!("arn:{partition}:iam::{account}:{resource}");
    let is = |key, values: &[&str]| BTreeMap::from([(key, values.iter().map(ToString::to_string).collect())]);
    let (sid, resources, conditions) = match bond {
        Bond::Nothing => ("Look", everything(), BTreeMap::new()),
        Bond::Region => ("Make", everything(), is("aws:RequestedRegion", &[region])),
        Bond::NewTags => ("Tag", everything(), is("aws:RequestTag/ticketctl:stack", &[stack])),
        Bond::OwnTags => ("Change", everything(), is("aws:ResourceTag/ticketctl:stack", &[stack])),
        Bond::PassRole => {
            let roles = vec![iam(&format!("role/ticketctl/{stack}/*"))];
            ("PassRole", roles, is("iam:PassedToService", &role_takers(partition)))
        }
        Bond::ServiceLinkedRole => {
            let roles = vec![iam("role/aws-service-role/*")];
            ("ServiceLinkedRoles", roles, is("iam:AWSServiceName", &ROLE_MAKERS))
        }
        Bond::Names("autoscaling") => {
            let groups = arn("autoscaling", &format!("autoScalingGroup:*:autoScalingGroupName/{stack}-*"));
            ("Scaling", vec![groups], BTreeMap::new())
        }
        Bond::Names("elasticloadbalancing") => {
            let name: String = format!("{stack}-").chars().take(KEPT).collect();
            let kinds = ["loadbalancer/app", "targetgroup", "listener/app", "listener-rule/app"];
            let arns = kinds.map(|kind| arn("elasticloadbalancing", &format!("{kind}/{name}*")));
            ("LoadBalancing", arns.into(), BTreeMap::new())
        }
        Bond::Names("rds") => {
            let names = [arn("rds", &format!("*:{}*", name::beginning(stack, 63))), arn("rds", "og:default:*")];
            ("Database", names.into(), BTreeMap::new())
        }
        Bond::Names("elasticache") => {
            let names = arn("elasticache", &format!("*:{}*", name::beginning(stack, 40)));
            ("Cache", vec![names], BTreeMap::new())
        }
        Bond::Names("iam") => {
            let kinds = ["role", "instance-profile"];
            ("Roles", kinds.map(|kind| iam(&format!("{kind}/ticketctl/{stack}/*"))).into(), BTreeMap::new())
        }
        Bond::Names("s3") => ("Buckets", buckets(stack, place), BTreeMap::new()),
        Bond::Names("sqs") => ("Queues", vec![arn("sqs", &format!("{stack}-*"))], BTreeMap::new()),
        Bond::Names("sns") => ("Topics", vec![arn("sns", &format!("{stack}-*"))], BTreeMap::new()),
        Bond::Names("ssm") => {
            let own = arn("ssm", &format!("parameter{}", parameter::name(stack, "*")));
            let images = format!("arn:{partition}:ssm:{region}::parameter/aws/service/ami-amazon-linux-latest/*");
            ("Parameters", vec![own, images], BTreeMap::new())
        }
        Bond::Names("secretsmanager") => {
            let secrets = ["/ticketctl/{}/*", "rds!cluster-*"].map(|name| name.replace("{}", stack));
            let arns = secrets.map(|name| arn("secretsmanager", &format!("secret:{name}")));
            ("Secrets", arns.into(), BTreeMap::new())
        }
        Bond::Names("logs") => {
            let own = arn("logs", &format!("log-group:{}", log_group::name(stack, "*")));
            // RDS makes these by itself.
            let database = arn("logs", &format!("log-group:{}{}*", log_group::OF_CLUSTERS, name::beginning(stack, 63)));
            ("Logs", vec![own, database], BTreeMap::new())
        }
        Bond::Names("cloudwatch") => {
            let dashboard = format!("arn:{partition}:cloudwatch::{account}:dashboard/{stack}");
            ("Alarms", vec![arn("cloudwatch", &format!("alarm:{stack}/*")), dashboard], BTreeMap::new())
        }
        Bond::Names(service) => unreachable!("the stack has no names in {service}"),
    };
    Statement { sid, actions, resources, conditions }
}

/// The services that a stack hands roles to, by the names under which the roles trust them.
fn role_takers(partition: &str) -> [&'static str; 3] {
    [ec2_principal(partition), "monitoring.rds.amazonaws.com", "vpc-flow-logs.amazonaws.com"]
}

/// What the stack's bucket is called. A name that is shortened ends with a hash over the account: for any account only its
/// beginning is known.
fn bucket(stack: &str, account: &str, region: &str) -> String {
    let of_one = Bucket::name_in(stack, "000000000000", region);
    match account {
        "*" if of_one != format!("{stack}-000000000000-{region}") => format!("{}*", name::beginning(stack, 63)),
        "*" => format!("{stack}-*-{region}"),
        account => Bucket::name_in(stack, account, region),
    }
}

/// The stack's bucket and the control bucket, of which a stack has a folder.
fn buckets(stack: &str, place: &Place) -> Vec<String> {
    let Place { partition, region, account } = place;
    let own = bucket(stack, account, region);
    let control = format!("ticketctl-{account}-{region}");
    let paths = [own.clone(), format!("{own}/*"), control.clone(), format!("{control}/stacks/{stack}/*")];
    paths.map(|path| format!("arn:{partition}:s3:::{path}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aws::tags, blueprint::compile, export::cloudformation::facts, stack::load};
    use std::path::Path;

    fn policy(file: &str) -> Vec<Statement> {
        policy_with(file, &[])
    }

    fn policy_with(file: &str, sets: &[String]) -> Vec<Statement> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks").join(file);
        let stack = load(&path, sets).unwrap_or_else(|wrong| panic!("{}", wrong.render(false))).stack;
        let facts = facts(&stack);
        let (partition, region) = (facts.partition.clone(), stack.region.clone());
        statements(&compile(&stack, &facts), &Place { partition, region, account: "123456789012".into() })
    }

    #[test]
    fn what_is_there_is_bound_to_the_stack() {
        for statement in policy("prod.yaml") {
            let own = statement.resources.iter().all(|resource| resource.contains("ticketing-prod"));
            let tagged = statement.conditions.values().flatten().any(|value| value == "ticketing-prod");
            let known = matches!(
                statement.sid,
                "Look" | "Make" | "ServiceLinkedRoles" | "Parameters" | "Secrets" | "Database" | "Buckets"
            );
            assert!(own || tagged || known, "{statement:?}");
        }
        let look = policy("prod.yaml").into_iter().find(|statement| statement.sid == "Look").expect("a statement");
        assert!(look.actions.iter().all(|action| !action.contains(":Delete") && !action.contains("Value")), "{look:?}");
    }

    #[test]
    fn a_stack_without_a_database_asks_for_none() {
        let all = |file| policy(file).into_iter().flat_map(|statement| statement.actions).collect::<BTreeSet<_>>();
        assert!(all("dev.yaml").contains("rds:CreateDBCluster"));
        assert!(!all("localstack.yaml").contains("rds:CreateDBCluster"));
    }

    #[test]
    fn whatever_a_stack_once_had_can_be_taken_away() {
        let allowed: BTreeSet<_> = policy("localstack.yaml").into_iter().flat_map(|one| one.actions).collect();
        for kind in resource::all() {
            let actions = actions_of(kind.name()).expect("known");
            let missing: Vec<_> = actions.delete.iter().filter(|action| !allowed.contains(*action)).collect();
            assert!(missing.is_empty(), "{}: {missing:?}", kind.name());
        }
    }

    #[test]
    fn what_aws_knows_no_resource_for_is_bound_to_none() {
        assert_eq!(bond("sns:Unsubscribe", false), Bond::Nothing);
        assert_eq!(bond("sns:DeleteTopic", false), Bond::Names("sns"));
        assert_eq!(bond("autoscaling:DescribeAccountLimits", false), Bond::Nothing);
    }

    #[test]
    fn the_document_allows_the_same_in_fewer_words() {
        let statements = policy("prod.yaml");
        let document = document(&statements);
        let written = document["Statement"].as_array().expect("statements");
        let named: Vec<&Statement> = statements.iter().filter(|one| one.only_names()).collect();
        let services =
            |one: &Statement| one.actions.iter().map(|action| action.split(':').next()).collect::<BTreeSet<_>>();
        let of: BTreeSet<_> = named.iter().flat_map(|one| services(one)).collect();
        assert_eq!(of.len(), named.len(), "two statements are for one service");
        assert_eq!(written.len(), statements.len() - named.len() + 1);
        let names = written.last().expect("a statement");
        let count = |list: &Value| list.as_array().map_or(1, Vec::len);
        assert_eq!(count(&names["Action"]), named.iter().map(|one| one.actions.len()).sum::<usize>());
        assert_eq!(count(&names["Resource"]), named.iter().map(|one| one.resources.len()).sum::<usize>());
    }

    #[test]
    fn roles_are_handed_to_whom_they_trust() {
        let region = ["region=cn-northwest-1".to_owned()];
        for (sets, ec2) in [(&region[..], "ec2.amazonaws.com.cn"), (&[][..], "ec2.amazonaws.com")] {
            let pass =
                policy_with("dev.yaml", sets).into_iter().find(|one| one.sid == "PassRole").expect("a statement");
            assert_eq!(pass.conditions["iam:PassedToService"][0], ec2);
        }
    }

    #[test]
    fn a_bucket_of_any_account_is_called_as_the_policy_says() {
        let any = |stack: &str| bucket(stack, "*", "ap-northeast-2");
        assert_eq!(any("shop-dev"), "shop-dev-*-ap-northeast-2");
        for length in 12..60 {
            let stack: String = "ticket-platform-".chars().cycle().take(length).collect();
            let stack = stack.trim_end_matches('-');
            let pattern = any(stack);
            let (beginning, end) = pattern.split_once('*').expect("a pattern");
            let name = bucket(stack, "123456789012", "ap-northeast-2");
            assert!(name.starts_with(beginning) && name.ends_with(end), "{name} isn't {pattern}");
        }
    }

    #[test]
    fn a_certificate_may_be_looked_at_where_there_is_one() {
        let arn = "arn:aws:acm:ap-northeast-2:123456789012:certificate/1";
        let looks = |sets: &[String]| {
            let mut statements = policy_with("dev.yaml", sets).into_iter();
            statements.find(|statement| statement.actions.contains(CERTIFICATE)).map(|statement| statement.resources)
        };
        assert_eq!(looks(&[]), None);
        assert_eq!(looks(&[format!("ingress.certificate={arn}")]), Some(vec![arn.to_owned()]));
    }

    #[test]
    fn shortened_names_begin_as_the_policy_says() {
        for length in 12..60 {
            let stack: String = "ticket-platform-".chars().cycle().take(length).collect();
            let stack = stack.trim_end_matches('-');
            for limit in [40, 63] {
                let name = name::fit(format!("{stack}-redis"), limit);
                let beginning = name::beginning(stack, limit);
                assert!(name.starts_with(&beginning), "{name} doesn't begin with {beginning}");
            }
        }
    }

    #[test]
    fn the_tag_is_the_stack_s() {
        let keys = policy("dev.yaml").into_iter().flat_map(|statement| statement.conditions.into_keys());
        let tag = keys.filter_map(|key| key.split_once("Tag/")).map(|(_, tag)| tag).collect::<BTreeSet<_>>();
        assert_eq!(tag, BTreeSet::from([tags::STACK]));
    }
}
