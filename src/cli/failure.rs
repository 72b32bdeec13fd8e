//! How a command fails: a message, what caused it, what to do, and the exit code.

use owo_colors::OwoColorize;

pub type Result<T> = std::result::Result<T, Failure>;

/// What a command ends with when it can't do what was asked.
#[derive(Debug)]
pub struct Failure {
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    code: u8,
    /// The message is told in full: nothing is put before it.
    rendered: bool,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), causes: Vec::new(), hint: None, code: 1, rendered: false }
    }

    /// Something that is already told in full, such as diagnostics of a stack file.
    pub fn rendered(text: impl Into<String>) -> Self {
        Failure { rendered: true, ..Failure::new(text) }
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// What led to it, the nearest first.
    pub fn caused_by(mut self, cause: impl std::fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// What to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    pub fn exit_code(&self) -> u8 {
        self.code
    }

    /// As it goes to standard error.
    pub fn render(&self) -> String {
        let mut text =
            if self.rendered { self.message.clone() } else { format!("{} {}", "error:".red().bold(), self.message) };
        for cause in &self.causes {
            text.push_str(&format!("\n  {} {cause}", "caused by:".dimmed()));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\n{} {hint}", "hint:".cyan()));
        }
        text
    }
}

impl From<crate::aws::Error> for Failure {
    fn from(error: crate::aws::Error) -> Self {
        let text = error.to_string();
        let failure = Failure::new(text.as_str());
        match hint(&text) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<crate::engine::lock::LockError> for Failure {
    fn from(error: crate::engine::lock::LockError) -> Self {
        use crate::engine::lock::LockError;
        match error {
            LockError::Aws(error) => error.into(),
            LockError::Held(_) => Failure::new(error.to_string()).hint(
                "wait for that run to end; if it is dead, its lease runs out by itself, or run `ticketctl lock break`",
            ),
            LockError::Damaged { .. } => {
                Failure::new(error.to_string()).hint("if no run is under way, `ticketctl lock break` writes it anew")
            }
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // Who read our output has had enough (`plan | head -1`): nothing to complain about.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Failure::rendered("");
        }
        Failure::new(error.to_string())
    }
}

/// What to do about errors of AWS that everybody meets, by their code and text.
pub fn hint(error: &str) -> Option<&'static str> {
    let has = |parts: &[&str]| parts.iter().any(|part| error.contains(part));
    if has(&["ExpiredToken", "RequestExpired"]) {
        return Some("the session has expired: log in again, then run the same command; it goes on where it stopped");
    }
    if has(&["InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "SignatureDoesNotMatch"]) {
        return Some("AWS doesn't know these credentials: check the profile and the region");
    }
    if has(&["credentials", "no providers in chain"]) {
        return Some("set up credentials (`aws configure sso`, AWS_PROFILE, …), or try it without an account: --local");
    }
    if has(&["dispatch failure", "connect"]) {
        return Some("is the endpoint running, and is its address right?");
    }
    None
}
