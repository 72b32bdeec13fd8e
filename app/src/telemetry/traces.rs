//! Traces, sent to an OpenTelemetry collector (OTLP over HTTP) when `OTEL_EXPORTER_OTLP_ENDPOINT` is set, and the W3C
//! trace context in requests and messages. What else OpenTelemetry's specification names as environment variables,
//! such as `OTEL_TRACES_SAMPLER` and `OTEL_SERVICE_NAME`, holds as well.

use anyhow::Context as _;
use axum::extract::MatchedPath;
use axum::http::{HeaderMap, Method};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tracing::field::{Field, Visit};
use tracing::{Event, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

/// The header, and the attribute of messages, that names a trace (W3C Trace Context, 3.2).
pub const TRACEPARENT: &str = "traceparent";

static ENABLED: AtomicBool = AtomicBool::new(false);

/// The connection to the collector.
pub struct Exporter(SdkTracerProvider);

impl Exporter {
    /// None unless a collector is named.
    pub fn from_environment() -> anyhow::Result<Option<Self>> {
        let names = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
        if names.iter().all(|name| std::env::var(name).unwrap_or_default().is_empty()) {
            return Ok(None);
        }
        let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().build();
        let exporter = exporter.with_context(|| format!("traces cannot be sent as {} says", names[1]))?;
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("ticketing");
        }
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = resource.with_attribute(version).build();
        let provider = SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build();
        ENABLED.store(true, Ordering::Relaxed);
        Ok(Some(Self(provider)))
    }

    /// What makes traces of spans, and of the statements that sqlx tells about.
    pub fn layers<S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync>(&self) -> impl Layer<S> + use<S> {
        let tracer = self.0.tracer("ticketing");
        let ours = Targets::new().with_target("ticketing", LevelFilter::DEBUG);
        let spans = tracing_opentelemetry::layer().with_tracer(tracer.clone()).with_location(false).with_threads(false);
        let statements = Targets::new().with_target("sqlx::query", LevelFilter::DEBUG);
        spans.with_filter(ours).and_then(Statements(tracer).with_filter(statements))
    }

    /// Sends what is left. Blocks.
    pub fn end(self) {
        if let Err(error) = self.0.shutdown_with_timeout(Duration::from_secs(5)) {
            eprintln!("the last traces were not sent: {error}");
        }
    }
}

/// Makes a span of each statement, when it has ended.
struct Statements(SdkTracer);

#[derive(Default)]
struct Statement {
    summary: String,
    text: String,
    seconds: f64,
}

impl Visit for Statement {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => self.summary = value.to_owned(),
            "db.statement" => self.text = value.trim().to_owned(),
            _ => {}
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.seconds = value;
        }
    }
}

impl<S: Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let parent = Context::current();
        if !parent.span().span_context().is_sampled() {
            return;
        }
        let mut statement = Statement::default();
        event.record(&mut statement);
        let end = SystemTime::now();
        let start = end - Duration::try_from_secs_f64(statement.seconds).unwrap_or_default();
        let text = if statement.text.is_empty() { statement.summary.clone() } else { statement.text };
        // The values aren't in it: they are bound.
        let attributes = [KeyValue::new("db.system.name", "mysql"), KeyValue::new("db.query.text", text)];
        let builder = self.0.span_builder(statement.summary).with_kind(SpanKind::Client).with_start_time(start);
        builder.with_attributes(attributes).start_with_context(&self.0, &parent).end_with_timestamp(end);
    }
}

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

/// A map with one entry.
#[derive(Default)]
struct Carrier(HashMap<String, String>);

impl Extractor for Carrier {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

impl Injector for Carrier {
    fn set(&mut self, key: &str, value: String) {
        self.0.insert(key.to_owned(), value);
    }
}

fn enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

fn continue_from(span: &Span, carrier: &dyn Extractor) {
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), carrier);
    if parent.span().span_context().is_valid()
        && let Err(error) = span.set_parent(parent)
    {
        tracing::debug!(%error, "a trace is not continued");
    }
}

/// Makes a request's span, with empty fields `otel.name`, `otel.kind` and `trace_id`, a part of the caller's trace.
pub fn request_began(span: &Span, method: &Method, route: Option<&MatchedPath>, headers: &HeaderMap) {
    if !enabled() {
        return;
    }
    continue_from(span, &Headers(headers));
    span.record("otel.kind", "server");
    span.record("otel.name", route.map_or_else(|| method.to_string(), |route| format!("{method} {}", route.as_str())));
    span.set_attribute("http.request.method", method.to_string());
    if let Some(route) = route {
        span.set_attribute("http.route", route.as_str().to_owned());
    }
    let context = span.context();
    span.record("trace_id", context.span().span_context().trace_id().to_string());
}

/// Tells a request's span about the answer.
pub fn request_ended(span: &Span, status: u16) {
    if enabled() {
        span.set_attribute("http.response.status_code", i64::from(status));
        if status >= 500 {
            span.set_status(Status::error(""));
        }
    }
}

/// The present trace, as it goes into messages.
pub fn current() -> Option<String> {
    if !enabled() {
        return None;
    }
    let mut carrier = Carrier::default();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.0.remove(TRACEPARENT)
}

/// Makes a span a part of the trace that a message names.
pub fn follow(span: &Span, traceparent: Option<&str>) {
    if let Some(traceparent) = traceparent.filter(|_| enabled()) {
        continue_from(span, &Carrier(HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())])));
    }
}
