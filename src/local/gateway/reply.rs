//! Answers and refusals, written the way the service of the call writes them.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::call::{Call, Protocol};
use super::xml::Element;

const REQUEST_ID: &str = "00000000-0000-4000-8000-000000000000";

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A call refused: AWS's own code, and a message close to AWS's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub code: String,
    pub message: String,
}

impl Refusal {
    /// A refusal with the status 400, as nearly all are.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self::with_status(400, code, message)
    }

    pub fn with_status(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    pub fn into_reply(self, call: &Call) -> Reply {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let code_and_message = [Element::leaf("Code", &self.code), Element::leaf("Message", &self.message)];
        match call.protocol {
            Protocol::Ec2 => {
                let error = Element::new("Error").with_all(code_and_message);
                let body = Element::new("Response")
                    .with(Element::new("Errors").with(error))
                    .with(Element::leaf("RequestID", REQUEST_ID));
                Reply::xml(status, &body)
            }
            Protocol::Query => {
                let kind = if self.status < 500 { "Sender" } else { "Receiver" };
                let error = Element::new("Error").with(Element::leaf("Type", kind)).with_all(code_and_message);
                let body = Element::new("ErrorResponse").with(error).with(Element::leaf("RequestId", REQUEST_ID));
                Reply::xml(status, &body)
            }
            Protocol::Rest => Reply::xml(status, &Element::new("Error").with_all(code_and_message)),
            // What came as CBOR travels inside the gateway as JSON and is translated once, on its way out.
            Protocol::Json | Protocol::Cbor => {
                let body = serde_json::json!({"__type": self.code, "message": self.message});
                let mut reply = Reply::json(status, &body);
                if let Ok(value) = HeaderValue::from_str(&format!("{};Sender", self.code)) {
                    reply.headers.insert(HeaderName::from_static("x-amzn-query-error"), value);
                }
                reply
            }
        }
    }
}

impl Reply {
    pub fn json(status: StatusCode, body: &serde_json::Value) -> Self {
        Self::with_type(status, "application/x-amz-json-1.1", body.to_string())
    }

    pub fn xml(status: StatusCode, body: &Element) -> Self {
        Self::with_type(status, "text/xml", format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}"))
    }

    fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, body: body.into() }
    }

    /// The successful answer of a query operation: `<OpResponse><OpResult>…`, or `<OpResponse>…` for EC2.
    pub fn result(call: &Call, members: impl IntoIterator<Item = Element>) -> Self {
        let operation = &call.operation;
        let mut response = Element::new(format!("{operation}Response"));
        response.attributes.push(("xmlns".to_owned(), namespace(&call.service).to_owned()));
        let response = if call.protocol == Protocol::Ec2 {
            response.with(Element::leaf("requestId", REQUEST_ID)).with_all(members)
        } else {
            response
                .with(Element::new(format!("{operation}Result")).with_all(members))
                .with(Element::new("ResponseMetadata").with(Element::leaf("RequestId", REQUEST_ID)))
        };
        Self::xml(StatusCode::OK, &response)
    }

    /// The body as XML; an answer that isn't XML (an emulator's error page) is the emulator's failure.
    pub fn element(&self) -> Result<Element, Refusal> {
        let text = String::from_utf8_lossy(&self.body);
        Element::parse(&text).map_err(|error| {
            Refusal::with_status(
                500,
                "InternalFailure",
                format!("the emulator answered with something else than XML: {error}"),
            )
        })
    }

    /// The same answer with its body changed.
    pub fn with_element(mut self, element: &Element) -> Self {
        self.body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{element}").into();
        self
    }

    /// The refusal in an XML error answer, for calls that the gateway makes itself.
    pub fn as_refusal(&self) -> Refusal {
        let element = self.element().unwrap_or_default();
        let text = |name| element.find(name).map(|found| found.text.clone()).unwrap_or_default();
        let code = text("Code");
        let code = if code.is_empty() { "InternalFailure".to_owned() } else { code };
        Refusal { status: self.status.as_u16(), code, message: text("Message") }
    }
}

fn namespace(service: &str) -> &'static str {
    match service {
        "ec2" => "http://ec2.amazonaws.com/doc/2016-11-15/",
        "autoscaling" => "http://autoscaling.amazonaws.com/doc/2011-01-01/",
        "elasticache" => "http://elasticache.amazonaws.com/doc/2015-02-02/",
        "rds" => "http://rds.amazonaws.com/doc/2014-10-31/",
        "elasticloadbalancing" => "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
        "iam" => "https://iam.amazonaws.com/doc/2010-05-08/",
        _ => "https://aws.amazon.com/",
    }
}
