//! What a request asks for: which operation of which service, in which protocol, with which parameters.

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Uri};

use super::form::Form;

/// How the request is written, and so how its answer and errors must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Ec2,
    Query,
    Json,
    Cbor,
    Rest,
}

/// One request, read whole.
#[derive(Clone, Debug)]
pub struct Call {
    /// The service's signing name, as in the credential scope: `ec2`, `autoscaling`, `monitoring`, …
    pub service: String,
    /// The operation's name in the service's model; for S3 the closest one.
    pub operation: String,
    pub protocol: Protocol,
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Parameters of the query protocols; empty for the others.
    pub form: Form,
}

impl Call {
    pub fn read(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Self {
        let service = credential_scope(&uri, &headers).unwrap_or_default();
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let content_type = header(CONTENT_TYPE.as_str());
        let mut form = Form::default();
        let (protocol, operation) = if let Some((_, operation)) = uri.path().split_once("/operation/") {
            (Protocol::Cbor, operation.to_owned())
        } else if let Some((_, operation)) = header("x-amz-target").rsplit_once('.') {
            (Protocol::Json, operation.to_owned())
        } else if service == "s3" || service.is_empty() {
            (Protocol::Rest, s3_operation(&method, &uri))
        } else {
            form = if content_type.starts_with("application/x-www-form-urlencoded") {
                Form::parse(&body)
            } else {
                Form::parse(uri.query().unwrap_or_default().as_bytes())
            };
            let protocol = if service == "ec2" { Protocol::Ec2 } else { Protocol::Query };
            (protocol, form.text("Action").to_owned())
        };
        Self { service, operation, protocol, method, uri, headers, body, form }
    }

    /// Whether the call can change something. Reads can be repeated and served stale.
    pub fn is_mutating(&self) -> bool {
        if self.protocol == Protocol::Rest {
            return self.method != Method::GET && self.method != Method::HEAD;
        }
        const READS: [&str; 8] = ["Describe", "Get", "List", "Head", "Lookup", "Search", "Simulate", "Filter"];
        !READS.iter().any(|prefix| self.operation.starts_with(prefix))
    }

    /// The part of the authorization that names who asks, with another service in the scope: moto looks at nothing else.
    pub fn authorization_for(&self, service: &str) -> String {
        let scope = self
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once("Credential=")?.1.split(',').next())
            .unwrap_or("local/20260101/us-east-1/ec2/aws4_request");
        let parts: Vec<&str> = scope.split('/').collect();
        let (key, date, region) = match parts.as_slice() {
            [key, date, region, ..] => (*key, *date, *region),
            _ => ("local", "20260101", "us-east-1"),
        };
        format!(
            "AWS4-HMAC-SHA256 Credential={key}/{date}/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
        )
    }

    /// moto's account, whoever asks.
    pub fn account(&self) -> &'static str {
        "123456789012"
    }

    pub fn region(&self) -> String {
        let authorization = self.authorization_for("");
        authorization.split('/').nth(2).unwrap_or("us-east-1").to_owned()
    }
}

/// The service of a signed request: the fourth part of `KEY/DATE/REGION/SERVICE/aws4_request`, from the header or, when
/// the URL is presigned, from the query.
fn credential_scope(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let credential = match headers.get(AUTHORIZATION) {
        Some(value) => value.to_str().ok()?.split_once("Credential=")?.1.split(',').next()?.to_owned(),
        None => Form::parse(uri.query()?.as_bytes()).get("X-Amz-Credential")?.to_owned(),
    };
    Some(credential.split('/').nth(3)?.to_owned())
}

/// The name of an S3 operation, for those that ticketctl uses; others get their method's plain name.
fn s3_operation(method: &Method, uri: &Uri) -> String {
    const SUB_RESOURCES: [(&str, &str); 13] = [
        ("versioning", "BucketVersioning"),
        ("encryption", "BucketEncryption"),
        ("publicAccessBlock", "PublicAccessBlock"),
        ("policy", "BucketPolicy"),
        ("lifecycle", "BucketLifecycleConfiguration"),
        ("tagging", "BucketTagging"),
        ("ownershipControls", "BucketOwnershipControls"),
        ("location", "BucketLocation"),
        ("acl", "BucketAcl"),
        ("logging", "BucketLogging"),
        ("notification", "BucketNotificationConfiguration"),
        ("cors", "BucketCors"),
        ("object-lock", "ObjectLockConfiguration"),
    ];
    let query = Form::parse(uri.query().unwrap_or_default().as_bytes());
    let verb = match *method {
        Method::GET => "Get",
        Method::HEAD => "Head",
        Method::PUT => "Put",
        Method::DELETE => "Delete",
        Method::POST => "Post",
        _ => "Other",
    };
    let path = uri.path().trim_start_matches('/');
    let has_key = path.split_once('/').is_some_and(|(_, key)| !key.is_empty());
    if let Some((_, name)) = SUB_RESOURCES.iter().find(|(name, _)| query.get(name).is_some()) {
        return format!("{verb}{name}");
    }
    let listing = |name| query.get(name).is_some();
    match (verb, path.is_empty(), has_key) {
        ("Get", true, _) => "ListBuckets",
        ("Get", _, false) if listing("versions") => "ListObjectVersions",
        ("Get", _, false) if listing("uploads") => "ListMultipartUploads",
        ("Get", _, false) => "ListObjectsV2",
        ("Head", _, false) => "HeadBucket",
        ("Put", _, false) => "CreateBucket",
        ("Delete", _, false) => "DeleteBucket",
        ("Post", _, false) if listing("delete") => "DeleteObjects",
        ("Post", _, true) if listing("uploads") => "CreateMultipartUpload",
        ("Post", _, true) if listing("uploadId") => "CompleteMultipartUpload",
        ("Put", _, true) if listing("partNumber") => "UploadPart",
        _ => return format!("{verb}Object"),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: Method, uri: &str, headers: &[(&'static str, &str)], body: &'static str) -> Call {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Call::read(method, uri.parse().unwrap(), headers, Bytes::from_static(body.as_bytes()))
    }

    fn signed(service: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        )
    }

    #[test]
    fn the_operation_is_found_in_each_protocol() {
        let ec2 = signed("ec2");
        let form = [("authorization", ec2.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        let query = call(Method::POST, "/", &form, "Action=CreateVpc&CidrBlock=10.0.0.0/16");
        assert_eq!((query.service.as_str(), query.operation.as_str()), ("ec2", "CreateVpc"));
        assert_eq!((query.protocol, query.is_mutating()), (Protocol::Ec2, true));
        assert_eq!(query.region(), "eu-west-1");

        let ssm = signed("ssm");
        let target = [("authorization", ssm.as_str()), ("x-amz-target", "AmazonSSM.GetParameter")];
        let json = call(Method::POST, "/", &target, "{}");
        assert_eq!((json.operation.as_str(), json.protocol), ("GetParameter", Protocol::Json));
        assert!(!json.is_mutating());

        let path = "/service/GraniteServiceVersion20100801/operation/PutMetricAlarm";
        assert_eq!(call(Method::POST, path, &[], "").operation, "PutMetricAlarm");

        let s3 = signed("s3");
        let s3 = [("authorization", s3.as_str())];
        for (method, uri, operation) in [
            (Method::GET, "/?x-id=ListBuckets", "ListBuckets"),
            (Method::PUT, "/b", "CreateBucket"),
            (Method::PUT, "/b/?versioning", "PutBucketVersioning"),
            (Method::GET, "/b/?list-type=2", "ListObjectsV2"),
            (Method::PUT, "/b/k/x?x-id=PutObject", "PutObject"),
            (Method::DELETE, "/b/k", "DeleteObject"),
        ] {
            assert_eq!(call(method, uri, &s3, "").operation, operation);
        }
    }

    #[test]
    fn a_presigned_url_names_its_service() {
        let uri = "/b/k?X-Amz-Credential=AKID%2F20260101%2Feu-west-1%2Fs3%2Faws4_request";
        assert_eq!(call(Method::GET, uri, &[], "").service, "s3");
    }
}
