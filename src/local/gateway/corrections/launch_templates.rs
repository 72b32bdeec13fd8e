//! Launch templates: a new version starts from its source version, deleted versions are gone, unknown ids are errors.
//!
//! moto cannot launch an instance from a later version that has user data (it keeps the text in a form that it then
//! refuses itself), so the gateway keeps the user data of those versions and puts it back into the answers.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::local::gateway::call::Call;
use crate::local::gateway::form::Form;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::upstream::rewrite;
use crate::local::gateway::xml::Element;

/// The template that the call names by id or by name.
async fn find(state: &State, call: &Call) -> Result<Element, Refusal> {
    let key = if call.form.get("LaunchTemplateId").is_some() { "LaunchTemplateId" } else { "LaunchTemplateName" };
    let parameter = format!("{key}.1");
    let parameters = [(parameter.as_str(), call.form.text(key))];
    let answer = state.upstream.ask(call, "ec2", "DescribeLaunchTemplates", &parameters).await?;
    answer.members("launchTemplates").first().cloned().ok_or_else(|| id_missing(call.form.text(key)))
}

fn id_missing(id: &str) -> Refusal {
    let message = format!("The specified launch template, with template ID {id}, does not exist.");
    Refusal::new("InvalidLaunchTemplateId.NotFound", message)
}

/// Fills the call in from the source version. What is handed on is then the call without the user data: `withhold`.
pub async fn request(state: &State, call: &mut Call) -> Result<(), Refusal> {
    match call.operation.as_str() {
        "CreateLaunchTemplateVersion" => {
            let template = find(state, call).await?;
            let source = match call.form.text("SourceVersion") {
                "" => String::new(),
                "$Latest" => template.get("latestVersionNumber").to_owned(),
                "$Default" => template.get("defaultVersionNumber").to_owned(),
                number => number.to_owned(),
            };
            let source =
                state.memory().template_data.get(&(template.get("launchTemplateId").to_owned(), source)).cloned();
            let changed: HashSet<String> =
                call.form.under("LaunchTemplateData").pairs().iter().map(|(key, _)| member(key).to_owned()).collect();
            for (key, value) in source.unwrap_or_default().pairs() {
                if !changed.contains(member(key)) {
                    call.form.push(format!("LaunchTemplateData.{key}"), value);
                }
            }
        }
        // Without it moto tells no more than 15, and doesn't say that there are more.
        "DescribeLaunchTemplateVersions" if call.form.get("MaxResults").is_none() => {
            call.form.set("MaxResults", "200");
            rewrite(call);
        }
        _ => {}
    }
    Ok(())
}

/// The member of the launch template data that a parameter belongs to.
fn member(key: &str) -> &str {
    key.split('.').next().unwrap_or_default()
}

const USER_DATA: &str = "LaunchTemplateData.UserData";

/// The call as the emulator can take it.
pub fn withhold(call: &Call) -> Cow<'_, Call> {
    if call.operation != "CreateLaunchTemplateVersion" {
        return Cow::Borrowed(call);
    }
    let mut call = call.clone();
    call.form.remove(USER_DATA);
    rewrite(&mut call);
    Cow::Owned(call)
}

pub async fn answer(state: &State, sent: &Call, reply: Reply) -> Result<Reply, Refusal> {
    match sent.operation.as_str() {
        "CreateLaunchTemplate" | "CreateLaunchTemplateVersion" => {
            let mut answer = reply.element()?;
            let text = |name| answer.find(name).map(|element| element.text.clone()).unwrap_or_default();
            let first = sent.operation == "CreateLaunchTemplate";
            let version = if first { "1".to_owned() } else { text("versionNumber") };
            let data = sent.form.under("LaunchTemplateData");
            state.memory().template_data.insert((text("launchTemplateId"), version), data);
            if let (Some(data), Some(user_data)) = (answer.find_mut("launchTemplateData"), sent.form.get(USER_DATA)) {
                data.set(Element::leaf("userData", user_data));
            }
            Ok(reply.with_element(&answer))
        }
        "DescribeLaunchTemplates" => {
            let mut answer = reply.element()?;
            let found = answer.members("launchTemplates");
            for id in sent.form.list("LaunchTemplateId") {
                if !found.iter().any(|template| template.get("launchTemplateId") == id) {
                    return Err(id_missing(&id));
                }
            }
            retag(state, sent, &mut answer).await?;
            Ok(reply.with_element(&answer))
        }
        "DescribeLaunchTemplateVersions" => described(state, &sent.form, reply),
        _ => Ok(reply),
    }
}

/// moto tells the tags that the templates were made with; those of today are in its list of all tags.
async fn retag(state: &State, call: &Call, answer: &mut Element) -> Result<(), Refusal> {
    let filter = [("Filter.1.Name", "resource-type"), ("Filter.1.Value.1", "launch-template")];
    let tags = state.upstream.ask(call, "ec2", "DescribeTags", &filter).await?;
    let Some(templates) = answer.find_mut("launchTemplates") else { return Ok(()) };
    for template in &mut templates.children {
        let id = template.get("launchTemplateId").to_owned();
        let own = tags.members("tagSet").iter().filter(|tag| tag.get("resourceId") == id).map(|tag| {
            Element::new("item")
                .with(Element::leaf("key", tag.get("key")))
                .with(Element::leaf("value", tag.get("value")))
        });
        template.set(Element::new("tagSet").with_all(own));
    }
    Ok(())
}

fn described(state: &State, form: &Form, reply: Reply) -> Result<Reply, Refusal> {
    let mut answer = reply.element()?;
    let memory = state.memory();
    let Some(versions) = answer.find_mut("launchTemplateVersionSet") else {
        return Ok(reply);
    };
    versions.children.retain(|version| {
        let deleted = memory.deleted_versions.get(version.get("launchTemplateId"));
        !deleted.is_some_and(|deleted| deleted.contains(version.get("versionNumber")))
    });
    for number in form.list("LaunchTemplateVersion").iter().filter(|number| !number.starts_with('$')) {
        if !versions.children.iter().any(|version| version.get("versionNumber") == number) {
            let message = format!("Could not find the specified version {number} for the launch template.");
            return Err(Refusal::new("InvalidLaunchTemplateId.VersionNotFound", message));
        }
    }
    for version in &mut versions.children {
        let key = (version.get("launchTemplateId").to_owned(), version.get("versionNumber").to_owned());
        let user_data = memory.template_data.get(&key).and_then(|data| data.get("UserData"));
        if let (Some(data), Some(user_data)) = (version.child_mut("launchTemplateData"), user_data) {
            data.set(Element::leaf("userData", user_data));
        }
        // moto mixes the template's own tags into the data of its first version.
        if let Some(tags) = version.find_mut("tagSpecificationSet") {
            tags.children.retain(|specification| specification.get("resourceType") != "launch-template");
        }
    }
    Ok(reply.with_element(&answer))
}
