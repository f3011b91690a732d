//! A run that its user can ask and change while it runs ([`crate::live`]).

use std::path::PathBuf;

use jiff::Timestamp;
use uuid::Uuid;

use super::Session;
use crate::audit::Recorder;
use crate::live::Status;
use crate::live::server::{self, Server, Subject};
use crate::package::Progress;
use crate::policy::PolicySpec;
use crate::runtime::Runtime;

/// What there is to ask about, before the session stands.
pub(super) struct Live {
    pub(super) directory: PathBuf,
    pub(super) session: Uuid,
    pub(super) package: String,
    pub(super) spec: PolicySpec,
    pub(super) recorder: Recorder,
    pub(super) log: PathBuf,
}

impl Live {
    /// Listens as long as what it gives is kept. A session that cannot does its work all the same.
    pub(super) fn listen(
        self,
        session: &Session,
        runtime: &dyn Runtime,
        words: &dyn Progress,
    ) -> Option<Server> {
        let status = Status {
            session: self.session,
            pid: std::process::id(),
            package: self.package,
            started: Timestamp::now().to_string(),
            runtime: runtime.name().to_owned(),
            network: self.spec.mode.to_string(),
            allow: Vec::new(),
            allow_private: Vec::new(),
            deny: Vec::new(),
            allowed: 0,
            denied: 0,
            log: self.log,
        };
        let subject =
            Subject { status, spec: self.spec, recorder: self.recorder, datapath: session.datapath()? };
        server::start(&self.directory, subject)
            .inspect_err(|error| {
                words.warning(&format!(
                    "`npxc ps`, `watch`, `allow` and `deny` will not find this session: no socket in {} ({error})",
                    self.directory.display()
                ));
            })
            .ok()
    }
}
