//! Deleting versions of launch templates. The emulator keeps them; the gateway no longer shows them.

use crate::local::gateway::call::Call;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::xml::Element;

pub async fn answer(state: &State, call: &Call) -> Result<Option<Reply>, Refusal> {
    if call.operation != "DeleteLaunchTemplateVersions" {
        return Ok(None);
    }
    let key = if call.form.get("LaunchTemplateId").is_some() { "LaunchTemplateId" } else { "LaunchTemplateName" };
    let parameter = format!("{key}.1");
    let templates =
        state.upstream.ask(call, "ec2", "DescribeLaunchTemplates", &[(&parameter, call.form.text(key))]).await?;
    let template = templates.members("launchTemplates").first().cloned().ok_or_else(|| {
        Refusal::new("InvalidLaunchTemplateId.NotFound", "The specified launch template does not exist.")
    })?;
    let id = template.get("launchTemplateId").to_owned();
    let (mut deleted, mut kept) = (Vec::new(), Vec::new());
    let mut memory = state.memory();
    let versions = memory.deleted_versions.entry(id.clone()).or_default();
    for version in call.form.list("LaunchTemplateVersion") {
        let item = Element::new("item")
            .with(Element::leaf("launchTemplateId", &id))
            .with(Element::leaf("launchTemplateName", template.get("launchTemplateName")))
            .with(Element::leaf("versionNumber", &version));
        let refused = if version == template.get("defaultVersionNumber") {
            Some("operationNotPermitted")
        } else if version.parse::<u64>().map_or(true, |number| number > latest(&template)) {
            Some("launchTemplateVersionDoesNotExist")
        } else {
            None
        };
        match refused {
            Some(code) => kept.push(item.with(Element::new("responseError").with(Element::leaf("code", code)))),
            None => {
                versions.insert(version);
                deleted.push(item);
            }
        }
    }
    Ok(Some(Reply::result(
        call,
        [
            Element::new("successfullyDeletedLaunchTemplateVersionSet").with_all(deleted),
            Element::new("unsuccessfullyDeletedLaunchTemplateVersionSet").with_all(kept),
        ],
    )))
}

fn latest(template: &Element) -> u64 {
    template.get("latestVersionNumber").parse().unwrap_or_default()
}
