//! The stack's CloudWatch dashboard.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Change, Created, Desired, Found, Kind, Outputs, Scan, Select, Status, Traits, cloudwatch};
use crate::aws::{Context, Error, Result, Tags, partition};

pub struct Dashboard;

/// The name is the stack's.
#[derive(Serialize, Deserialize)]
pub struct DashboardSpec {
    /// The widgets: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html>
    pub body: Value,
}

impl Kind for Dashboard {
    const NAME: &'static str = "dashboard";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = DashboardSpec;

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<DashboardSpec>>> {
        let name = match select {
            Select::Stack => scan.stack.as_str(),
            Select::One(name) => *name,
        };
        let body = match scan.cloudwatch.get_dashboard().dashboard_name(name).send().await.map_err(Error::from) {
            Err(error) if error.is_not_found() || is_not_found_on_localstack(&error) => return Ok(Vec::new()),
            answer => answer?.dashboard_body.unwrap_or_default(),
        };
        Ok(vec![Found {
            logical_id: "dashboard".into(),
            id: name.to_owned(),
            spec: DashboardSpec { body: serde_json::from_str(&body).unwrap_or(Value::String(body)) },
            outputs: Outputs::new(),
            tags: None,
            status: Status::Ready,
        }])
    }

    async fn tags(cx: &Context, name: &str, _outputs: &Outputs) -> Result<Option<Tags>> {
        cloudwatch::tags(cx, &arn(cx, name).await?).await.map(Some)
    }

    async fn create(cx: &Context, desired: &Desired<DashboardSpec>) -> Result<Created> {
        put(cx, desired).await?;
        Ok(Created::new(&cx.stack))
    }

    async fn update(cx: &Context, change: &Change<DashboardSpec>) -> Result<()> {
        if change.touches_more_than_tags() {
            put(cx, &change.desired).await?;
        }
        match change.tags() {
            Some(tags) => cloudwatch::set_tags(cx, &arn(cx, &change.found.id).await?, tags).await,
            None => Ok(()),
        }
    }

    async fn delete(cx: &Context, found: &Found<DashboardSpec>) -> Result<()> {
        cx.cloudwatch.delete_dashboards().dashboard_names(&found.id).send().await?;
        Ok(())
    }
}

/// Dashboards belong to no region.
/// Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_TagResource.html>
async fn arn(cx: &Context, name: &str) -> Result<String> {
    Ok(format!("arn:{}:cloudwatch::{}:dashboard/{name}", partition(&cx.region), cx.account().await?))
}

/// AWS answers `ResourceNotFound`, LocalStack something that it uses for invalid names as well.
fn is_not_found_on_localstack(error: &Error) -> bool {
    error.is(&["InvalidParameterValue"]) && error.message.ends_with("does not exist.")
}

/// Makes the dashboard or sets its body anew. On a dashboard that exists, AWS ignores the tags.
async fn put(cx: &Context, desired: &Desired<DashboardSpec>) -> Result<()> {
    let answer = cx
        .cloudwatch
        .put_dashboard()
        .dashboard_name(&cx.stack)
        .dashboard_body(desired.spec.body.to_string())
        .set_tags(Some(cloudwatch::list(&desired.tags)))
        .send()
        .await?;
    for message in answer.dashboard_validation_messages() {
        let (path, text) = (message.data_path().unwrap_or_default(), message.message().unwrap_or_default());
        tracing::warn!("the dashboard was accepted, but CloudWatch says of {path}: {text}");
    }
    Ok(())
}
