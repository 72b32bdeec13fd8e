//! One error type for every AWS call: which service and operation, AWS's own code and text, and what to do about it.

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// What an operation on AWS returns.
pub type Result<T> = std::result::Result<T, Error>;

/// What an error means for whoever made the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The same call may succeed later: throttled, 5xx, no connection, or AWS's lists have not caught up yet.
    Retry,
    /// Something else still uses the resource, or it is in a state that doesn't allow the call yet.
    Conflict,
    /// What was asked for isn't there.
    NotFound,
    /// What was to be created is there already.
    Exists,
    /// AWS refused: no permission, a limit, or credentials.
    Refused,
    /// The request itself is wrong: our mistake or the stack file's.
    Invalid,
}

/// An AWS call that failed, or an answer that made no sense.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{service}:{operation} failed: {}{message}", code_prefix(.code))]
pub struct Error {
    /// The service as in its crate's name, for example `ec2`.
    pub service: String,
    /// The operation, for example `CreateVpc`.
    pub operation: String,
    /// AWS's error code, empty when no answer came.
    pub code: String,
    /// AWS's message, or the chain of causes when no answer came.
    pub message: String,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What AWS calls this request, for support cases.
    pub request_id: Option<String>,
    /// The id of what had been made before the call that failed, and that is to be gone on with instead of making another.
    pub made: Option<String>,
}

fn code_prefix(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!("{code}: ") }
}

impl Error {
    /// An answer that lacks what the API promises, such as a created resource without an id.
    pub fn unexpected(service: &str, operation: &str, message: impl Into<String>) -> Self {
        Error {
            service: service.into(),
            operation: operation.into(),
            code: String::new(),
            message: message.into(),
            status: None,
            request_id: None,
            made: None,
        }
    }

    /// The same, from a call that was to complete what has just been made.
    pub fn after_making(self, id: &str) -> Self {
        Error { made: Some(id.to_owned()), ..self }
    }

    /// Whether AWS's code is one of `codes`.
    pub fn is(&self, codes: &[&str]) -> bool {
        codes.contains(&self.code.as_str())
    }

    /// Whether the resource asked for doesn't exist.
    pub fn is_not_found(&self) -> bool {
        self.class() == Class::NotFound
    }

    /// Whether the call may have been carried out all the same: no answer came, or none that can be read, or the server
    /// failed on the way.
    pub fn may_have_been_done(&self) -> bool {
        self.class() == Class::Retry
            && match self.status {
                None => true,
                Some(status) => self.code.is_empty() && status < 300 || matches!(status, 500 | 502 | 504),
            }
    }

    /// What this error means for the caller.
    ///
    /// AWS has no common list of codes; these are the families that its services use (EC2's `….NotFound`,
    /// IAM's `NoSuchEntity`, RDS's `…NotFoundFault`, and so on).
    pub fn class(&self) -> Class {
        let code = self.code.as_str();
        let has = |parts: &[&str]| parts.iter().any(|part| code.contains(part));
        // No answer, an answer that can't be read, a server in trouble, or one that throttles without saying so.
        if code.is_empty() && self.status.is_none_or(|status| !(300..500).contains(&status) || status == 429) {
            return Class::Retry;
        }
        // Whoever hasn't got an operation won't have it later either.
        if self.status == Some(501) {
            return Class::Invalid;
        }
        if code.is_empty() && self.status == Some(403) {
            return Class::Refused;
        }
        if has(&["NotFound", "NoSuch", "NonExistent", "DoesNotExist", "ResourceNotFound"]) || self.names_nothing() {
            return Class::NotFound;
        }
        if has(&[
            "Throttl",
            "RequestLimitExceeded",
            "TooManyRequests",
            "SlowDown",
            "ServiceUnavailable",
            "InternalError",
        ]) || has(&["InternalFailure", "InternalServerError", "RequestTimeout", "PriorRequestNotComplete"])
            // Two writers at the same moment.
            || has(&["ConcurrentModification", "ConcurrentAccess", "TooManyUpdates"])
            || self.is_propagating()
            || (self.status.is_some_and(|status| status >= 500) && code != "InvalidAction")
        {
            return Class::Retry;
        }
        if has(&["DependencyViolation", "InUse", "DeleteConflict", "ScalingActivityInProgress", "ResourceContention"])
            || has(&[
                "InvalidDBClusterState",
                "InvalidDBInstanceState",
                "InvalidDBInstance",
                "InvalidDBSubnetGroupState",
            ])
            || has(&["InvalidDBParameterGroupState", "InvalidReplicationGroupState", "InvalidCacheParameterGroupState"])
            || has(&["InvalidCacheClusterState", "IncorrectState", "OperationAborted", "ConflictException"])
            || has(&["CannotDelete", "QueueDeletedRecently", "BucketNotEmpty", "OperationNotPermitted"])
            || has(&["InstanceRefreshInProgress", "ResourceConflict", "EntityTemporarilyUnmodifiable"])
            || has(&["InvalidDBSubnetState", "AlreadyAssociated"])
        {
            return Class::Conflict;
        }
        if has(&[
            "AlreadyExist",
            "Duplicate",
            "BucketAlreadyOwnedByYou",
            "ResourceExists",
            "EntityAlreadyExists",
            "ParameterAlreadyExists",
            "QueueNameExists",
        ]) {
            return Class::Exists;
        }
        if has(&[
            "AccessDenied",
            "Unauthorized",
            "AuthFailure",
            "InvalidClientTokenId",
            "ExpiredToken",
            "SignatureDoesNotMatch",
            "AuthorizationError",
        ]) || has(&["LimitExceeded", "QuotaExceeded", "UnrecognizedClient", "OptInRequired", "Forbidden"])
        {
            return Class::Refused;
        }
        Class::Invalid
    }

    /// Auto Scaling says "not found" as a `ValidationError` with a text.
    fn names_nothing(&self) -> bool {
        self.code == "ValidationError" && self.message.contains("not found")
    }

    /// What was just made isn't known everywhere in AWS yet: an instance profile to Auto Scaling, a role to RDS, a bucket's
    /// policy to the load balancer. They say it as a wrong request; only the text tells.
    fn is_propagating(&self) -> bool {
        let says = |code: &str, text: &str| self.code == code && self.message.contains(text);
        says("ValidationError", "Invalid IAM Instance Profile")
            || says("InvalidParameterValue", "IAM role ARN value is invalid")
            || says("InvalidConfigurationRequest", "Access Denied for bucket")
    }
}

/// The name of the operation is in the type: `aws_sdk_ec2::operation::create_vpc::CreateVpcError`.
fn call_of<E>() -> (String, String) {
    let path = std::any::type_name::<E>();
    let service = path.strip_prefix("aws_sdk_").and_then(|rest| rest.split("::").next()).unwrap_or("aws");
    let operation = path.rsplit("::").next().unwrap_or(path).trim_end_matches("Error");
    (service.to_owned(), operation.to_owned())
}

impl<E> From<SdkError<E, HttpResponse>> for Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let (service, operation) = call_of::<E>();
        let status = error.raw_response().map(|response| response.status().as_u16());
        let request_id = error.raw_response().and_then(|response| {
            let headers = response.headers();
            headers.get("x-amzn-requestid").or_else(|| headers.get("x-amz-request-id")).map(str::to_owned)
        });
        let meta = error.as_service_error().map(ProvideErrorMetadata::meta);
        let code = match &error {
            // The request couldn't even be written down: it never will be.
            SdkError::ConstructionFailure(_) => "InvalidRequest".to_owned(),
            _ => meta.and_then(|meta| meta.code()).unwrap_or_default().to_owned(),
        };
        let message = match meta.and_then(|meta| meta.message()) {
            Some(message) => message.to_owned(),
            None => chain(&error),
        };
        Error { service, operation, code, message, status, request_id, made: None }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, status: u16) -> Error {
        Error {
            service: "ec2".into(),
            operation: "DeleteVpc".into(),
            code: code.into(),
            message: "text".into(),
            status: Some(status),
            request_id: None,
            made: None,
        }
    }

    #[test]
    fn codes_of_every_family_are_classified() {
        for (code, status, class) in [
            ("InvalidVpcID.NotFound", 400, Class::NotFound),
            ("NoSuchEntity", 404, Class::NotFound),
            ("DBClusterNotFoundFault", 404, Class::NotFound),
            ("AWS.SimpleQueueService.NonExistentQueue", 400, Class::NotFound),
            ("RequestLimitExceeded", 503, Class::Retry),
            ("ThrottlingException", 400, Class::Retry),
            ("InternalError", 500, Class::Retry),
            ("DependencyViolation", 400, Class::Conflict),
            ("DeleteConflict", 409, Class::Conflict),
            ("ResourceInUse", 400, Class::Conflict),
            ("InvalidPermission.Duplicate", 400, Class::Exists),
            ("DBClusterAlreadyExistsFault", 400, Class::Exists),
            ("UnauthorizedOperation", 403, Class::Refused),
            ("VpcLimitExceeded", 400, Class::Refused),
            ("InvalidParameterValue", 400, Class::Invalid),
            ("ConcurrentModification", 409, Class::Retry),
            ("ConcurrentAccess", 400, Class::Retry),
            ("TooManyUpdates", 400, Class::Retry),
            ("InstanceRefreshInProgress", 400, Class::Conflict),
            ("Resource.AlreadyAssociated", 400, Class::Conflict),
            ("QueueNameExists", 400, Class::Exists),
            ("AuthorizationError", 403, Class::Refused),
            // An answer that was cut off, and a refused HEAD, which has no body.
            ("", 200, Class::Retry),
            ("", 403, Class::Refused),
            ("NotImplemented", 501, Class::Invalid),
        ] {
            assert_eq!(error(code, status).class(), class, "{code}");
        }
    }

    #[test]
    fn what_iam_has_not_told_everybody_yet_is_tried_again() {
        let profile = "You must use a valid fully-formed launch template. Value (x) for parameter iamInstanceProfile.name \
                       is invalid. Invalid IAM Instance Profile name";
        let role =
            "IAM role ARN value is invalid or does not include the required permissions for: ENHANCED_MONITORING";
        let class = |code: &str, message: &str| Error { message: message.into(), ..error(code, 400) }.class();
        assert_eq!(class("ValidationError", profile), Class::Retry);
        assert_eq!(class("InvalidParameterValue", role), Class::Retry);
        assert_eq!(class("ValidationError", "max must not be less than min"), Class::Invalid);
    }

    #[test]
    fn a_lost_answer_is_told_from_a_refusal() {
        assert!(Error { status: None, ..error("", 0) }.may_have_been_done());
        assert!(error("InternalError", 500).may_have_been_done());
        assert!(!error("RequestLimitExceeded", 503).may_have_been_done());
        assert!(!error("ThrottlingException", 400).may_have_been_done());
        assert!(!error("InvalidParameterValue", 400).may_have_been_done());
    }

    #[test]
    fn an_error_names_its_call() {
        assert_eq!(error("DependencyViolation", 400).to_string(), "ec2:DeleteVpc failed: DependencyViolation: text");
    }
}
