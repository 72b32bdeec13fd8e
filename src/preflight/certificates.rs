//! The certificate that the load balancer is to show: there, of this account, issued, and good for a while.

use aws_sdk_acm::types::{CertificateDetail, CertificateStatus, CertificateType};
use jiff::Timestamp;
use std::collections::BTreeSet;

use super::{Finding, Look, Scope};
use crate::{
    aws::{Error, Result},
    engine::{Action, Plan, Step},
    resource::{Kind, Listener},
};

/// A certificate that ends sooner than this is worth a word. ACM renews its own ones earlier, so one that has come so far
/// isn't renewed by itself.
const SOON: i64 = 30;
const DAY: i64 = 86_400;

/// The steps that give a certificate to a listener, or may.
fn steps(plan: &Plan) -> impl Iterator<Item = &Step> {
    let gives = |step: &&Step| matches!(step.action, Action::Create | Action::Replace | Action::Update);
    plan.steps.iter().filter(|step| step.kind == Listener::NAME).filter(gives)
}

pub async fn ask(look: &Look<'_>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for arn in wanted(look) {
        let account = arn.split(':').nth(4).unwrap_or_default();
        let here = look.cx.account().await?;
        if account != here {
            findings.push(Finding::Problem(format!(
                "ingress.certificate {arn} is of account {account}, and the stack is made in {here}; a load balancer takes \
                 certificates of its own account only"
            )));
            continue;
        }
        let answer = look.cx.acm.describe_certificate().certificate_arn(&arn).send().await.map_err(Error::from);
        match answer {
            Ok(answer) => findings.extend(
                answer.certificate().and_then(|certificate| judge(&arn, certificate, Timestamp::now().as_second())),
            ),
            Err(error) if error.is_not_found() => findings.push(Finding::Problem(format!(
                "ingress.certificate {arn} doesn't exist; `aws acm list-certificates --region {}` lists those that do",
                look.cx.region
            ))),
            Err(error) => return Err(error),
        }
    }
    Ok(findings)
}

/// The certificates in question.
fn wanted(look: &Look<'_>) -> BTreeSet<String> {
    let ids: BTreeSet<&str> = match look.scope {
        Scope::Plan => steps(look.plan).map(|step| step.id.as_str()).collect(),
        Scope::Stack => look.blueprint.nodes.keys().map(String::as_str).collect(),
    };
    let left_out = |id: &str| look.plan.omitted.iter().any(|omission| omission.id == id);
    let nodes = ids.into_iter().filter(|id| !left_out(id)).filter_map(|id| look.blueprint.nodes.get(id));
    let arn = |spec: &serde_json::Value| spec["tls"]["certificate"].as_str().map(str::to_owned);
    nodes.filter(|node| node.kind == Listener::NAME).filter_map(|node| arn(&node.spec)).collect()
}

/// What is wrong with a certificate at a time, in seconds since 1970.
fn judge(arn: &str, certificate: &CertificateDetail, now: i64) -> Option<Finding> {
    let wrong = |why: String| Some(Finding::Problem(format!("ingress.certificate {arn} {why}")));
    let end = certificate.not_after().map(|end| end.secs());
    let on = |end: i64| Timestamp::from_second(end).map(|end| end.strftime("%Y-%m-%d").to_string()).unwrap_or_default();
    let imported = certificate.r#type() == Some(&CertificateType::Imported);
    match certificate.status()? {
        CertificateStatus::Issued if end.is_none_or(|end| end > now) => {
            let end = end.filter(|end| end - now < SOON * DAY)?;
            let todo = match imported {
                true => "it was imported, so ACM doesn't renew it: import its successor under the same ARN",
                false => "ACM should have renewed it by now: see whether it is in use and its domains still validate",
            };
            let days = (end - now) / DAY;
            Some(Finding::Warning(format!("ingress.certificate {arn} ends in {days} days, on {}; {todo}", on(end))))
        }
        CertificateStatus::Issued | CertificateStatus::Expired => {
            let when = end.map(|end| format!(" on {}", on(end))).unwrap_or_default();
            wrong(format!("has expired{when}; import its successor, or request a new one"))
        }
        CertificateStatus::PendingValidation => wrong(format!(
            "isn't issued yet: ACM waits for the proof that {} is yours; `aws acm describe-certificate` tells the DNS records",
            certificate.domain_name().unwrap_or("its domain")
        )),
        CertificateStatus::ValidationTimedOut => {
            wrong("was never issued: nobody proved the domain in time; request it again".to_owned())
        }
        CertificateStatus::Failed => {
            let reason = certificate.failure_reason().map_or("ACM gives no reason", |reason| reason.as_str());
            wrong(format!("couldn't be issued ({reason}); request it again"))
        }
        CertificateStatus::Revoked => {
            let reason = certificate.revocation_reason().map_or("ACM gives no reason", |reason| reason.as_str());
            wrong(format!("is revoked ({reason}); request a new one"))
        }
        other => wrong(format!("can't be used: its status is {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_acm::types::{FailureReason, RevocationReason};
    use aws_smithy_types::DateTime;

    const NOW: i64 = 1_800_000_000;

    fn judged(status: CertificateStatus, days: i64, kind: CertificateType) -> Option<Finding> {
        let certificate = CertificateDetail::builder()
            .status(status)
            .r#type(kind)
            .domain_name("shop.example.com")
            .failure_reason(FailureReason::CaaError)
            .revocation_reason(RevocationReason::KeyCompromise)
            .not_after(DateTime::from_secs(NOW + days * DAY))
            .build();
        judge("arn:x", &certificate, NOW)
    }

    #[test]
    fn only_an_issued_certificate_will_do() {
        use CertificateStatus::{Expired, Failed, Inactive, Issued, PendingValidation, Revoked, ValidationTimedOut};
        assert_eq!(judged(Issued, 31, CertificateType::Imported), None);
        for (status, days, word) in [
            (Issued, -1, "has expired on 2027-01-14"),
            (Expired, -40, "has expired on 2026-12-06"),
            (PendingValidation, 300, "shop.example.com"),
            (ValidationTimedOut, 300, "in time"),
            (Failed, 300, "CAA_ERROR"),
            (Revoked, 300, "KEY_COMPROMISE"),
            (Inactive, 300, "INACTIVE"),
        ] {
            let finding = judged(status, days, CertificateType::AmazonIssued);
            assert!(matches!(&finding, Some(Finding::Problem(text)) if text.contains(word)), "{word}: {finding:?}");
        }
    }

    #[test]
    fn one_that_ends_soon_is_worth_a_word() {
        for (kind, word) in
            [(CertificateType::Imported, "import its successor"), (CertificateType::AmazonIssued, "renewed")]
        {
            let finding = judged(CertificateStatus::Issued, 29, kind);
            let Some(Finding::Warning(text)) = finding else { panic!("{finding:?}") };
            assert!(text.contains("in 29 days, on 2027-02-13") && text.contains(word), "{text}");
        }
    }
}
