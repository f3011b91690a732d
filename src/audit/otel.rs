//! Sends what is written to the log to an OpenTelemetry collector as well (OTLP, JSON over HTTP), as log records: the event's
//! name, and its members as attributes.
//!
//! It is configured by the SDK's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT` and so on) of npxc's environment. Nothing waits for
//! it: the SDK has a queue and a thread, and what does not fit is left out. The log on disk is what counts.

use super::AuditError;
use super::writer::Mirror;

/// What sends; an error where this npxc is built without it.
#[cfg(not(feature = "otel"))]
pub fn mirror() -> Result<Box<dyn Mirror>, AuditError> {
    Err(AuditError::NoExport)
}

/// What sends.
#[cfg(feature = "otel")]
pub fn mirror() -> Result<Box<dyn Mirror>, AuditError> {
    let sender = sending::Sender::new().map_err(|error| AuditError::Export(error.to_string()))?;
    Ok(Box::new(sender))
}

#[cfg(feature = "otel")]
mod sending {
    use std::collections::BTreeSet;
    use std::fmt;
    use std::io::{self, Write as _};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, LazyLock};
    use std::time::{Duration, SystemTime};

    use jiff::Timestamp;
    use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
    use opentelemetry_otlp::{ExporterBuildError, LogExporter};
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::logs::{LogBatch, SdkLogger, SdkLoggerProvider};
    use serde_json::Value;

    use super::super::writer::Mirror;
    use super::super::{Event, chain};
    use crate::audit::escape::printable;

    /// Longest wait at the end for a collector that does not answer.
    const LAST: Duration = Duration::from_secs(2);

    /// Longest reason that is said.
    const REASON: usize = 300;

    /// The events' names, which the SDK wants for ever.
    static NAMES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let schema = chain::schema();
        let kinds = schema["oneOf"].as_array().into_iter().flatten();
        kinds.filter_map(|kind| Some(kind["properties"]["event"]["const"].as_str()?.to_owned())).collect()
    });

    pub(super) struct Sender {
        provider: SdkLoggerProvider,
        logger: SdkLogger,
        told: Arc<AtomicBool>,
    }

    impl Sender {
        pub(super) fn new() -> Result<Self, ExporterBuildError> {
            let exporter = LogExporter::builder().with_http().build()?;
            let set = |name: &str| std::env::var(name).unwrap_or_default();
            let named = !set("OTEL_SERVICE_NAME").is_empty()
                || set("OTEL_RESOURCE_ATTRIBUTES").contains("service.name=");
            let resource = Resource::builder();
            let resource = if named { resource } else { resource.with_service_name("npxc") };
            let told = Arc::<AtomicBool>::default();
            let provider = SdkLoggerProvider::builder()
                .with_resource(resource.build())
                .with_batch_exporter(Telling { exporter, told: Arc::clone(&told) })
                .build();
            let logger = provider.logger("npxc.audit");
            Ok(Self { provider, logger, told })
        }
    }

    impl Mirror for Sender {
        fn record(&mut self, time: Timestamp, session: &str, event: &Event) {
            let Ok(Value::Object(members)) = serde_json::to_value(event) else { return };
            let mut record = self.logger.create_log_record();
            if let Some(name) = members.get("event").and_then(|name| NAMES.get(name.as_str()?)) {
                record.set_event_name(name);
            }
            let denied = matches!(event, Event::FlowDeny { .. } | Event::FlowDenySummary { .. })
                || matches!(event, Event::Dns { reason: Some(_), .. });
            let (severity, text) = if denied { (Severity::Warn, "WARN") } else { (Severity::Info, "INFO") };
            record.set_severity_number(severity);
            record.set_severity_text(text);
            record.set_timestamp(time.into());
            record.set_observed_timestamp(SystemTime::now());
            record.add_attribute("session", session.to_owned());
            for (name, value) in members {
                if name != "event" && !value.is_null() {
                    record.add_attribute(name, attribute(value));
                }
            }
            self.logger.emit(record);
        }
    }

    impl Drop for Sender {
        fn drop(&mut self) {
            if let Err(error) = self.provider.shutdown_with_timeout(LAST) {
                tell(&self.told, &error.to_string());
            }
        }
    }

    fn attribute(value: Value) -> AnyValue {
        match value {
            Value::Bool(value) => value.into(),
            Value::String(text) => text.into(),
            Value::Number(number) => match number.as_i64() {
                Some(number) => number.into(),
                None => number.to_string().into(),
            },
            Value::Array(values) => AnyValue::ListAny(Box::new(values.into_iter().map(attribute).collect())),
            other @ (Value::Null | Value::Object(_)) => other.to_string().into(),
        }
    }

    /// Says why events do not get there, the first time.
    fn tell(told: &AtomicBool, reason: &str) {
        if told.swap(true, Ordering::Relaxed) {
            return;
        }
        let mark = crate::voice::mark();
        let reason = printable(reason, REASON);
        let said = format!(
            "{mark}npxc: warning: events do not reach the OpenTelemetry collector ({reason}); the audit log has all\n\
             {mark}npxc: hint: OTEL_EXPORTER_OTLP_ENDPOINT says where it is; without it, http://localhost:4318\n"
        );
        let _ = io::stderr().write_all(said.as_bytes());
    }

    /// An exporter that says, once, when the collector takes nothing.
    struct Telling {
        exporter: LogExporter,
        told: Arc<AtomicBool>,
    }

    impl fmt::Debug for Telling {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_tuple("Telling").field(&self.exporter).finish()
        }
    }

    impl opentelemetry_sdk::logs::LogExporter for Telling {
        async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
            let result = self.exporter.export(batch).await;
            if let Err(error) = &result {
                tell(&self.told, &error.to_string());
            }
            result
        }

        fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
            self.exporter.shutdown_with_timeout(timeout)
        }

        fn set_resource(&mut self, resource: &Resource) {
            self.exporter.set_resource(resource);
        }
    }
}
