//! The child and the conversation with it: the MCP SDK's client on its stdin and stdout, its stderr beside.

use std::collections::{HashSet, VecDeque};
use std::fmt::{Display, Write as _};
use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rmcp::ServiceExt as _;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, Implementation,
    PaginatedRequestParams, Prompt, Resource, ServerPeerInfo, Tool,
};
use rmcp::service::{ClientInitializeError, Peer, RoleClient, ServiceError};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};

use super::Plan;
use super::watched::Watched;
use crate::audit::escape::printable;
use crate::cli::{say, server};
use crate::exit::{ExitStatus, Failure};
use crate::package::Progress as _;
use crate::voice;

/// Longest wait for an answer once the server has initialized.
const ANSWER: Duration = Duration::from_mins(1);

/// When a person who waits for the server is told so: first, and then as often.
const FIRST_WORD: Duration = Duration::from_secs(2);
const NEXT_WORD: Duration = Duration::from_secs(10);

/// How long something that has written no message to stdout may take to write one: servers that greet people there answer
/// at once, other programs never do.
const AFTER_WORDS: Duration = Duration::from_secs(5);

/// How long npxc may take to end the server and write its log.
const ENDING: Duration = Duration::from_secs(20);

/// Lines of stderr that are kept for the case that the server does not start, and how much of each.
const TAIL: usize = 40;
const LINE: usize = 2000;

/// The longest list that is taken from a server, items and bytes: some hundred times what the largest ones offer.
const MOST_ITEMS: usize = 10_000;
const MOST_BYTES: usize = 64 << 20;
/// Pages of it: they may be empty.
const MOST_PAGES: usize = 1000;

/// Characters of what stands on stdout in a message's place that are shown.
const SHOWN: usize = 200;

/// What npxc's own lines on the child's stderr begin with, behind the mark.
const OWN: &str = "npxc: ";

/// What to do about something that does not initialize.
const NOT_A_SERVER: &str =
    "if it is a slow MCP server on stdio: --timeout SECONDS; to run something else by hand: npxc PACKAGE";

/// Why the conversation ended early.
struct Problem {
    what: String,
    hint: Option<String>,
    /// npxc's status; what the child's end says, if there is none.
    status: Option<ExitStatus>,
}

impl From<String> for Problem {
    fn from(what: String) -> Self {
        Self { what, hint: None, status: None }
    }
}

/// What came of a probe.
#[derive(Debug, Default)]
pub(in crate::cli) struct Outcome {
    pub(in crate::cli) server: Option<ServerPeerInfo>,
    pub(in crate::cli) tools: Vec<Tool>,
    pub(in crate::cli) prompts: Vec<Prompt>,
    pub(in crate::cli) resources: Vec<Resource>,
    pub(in crate::cli) called: Option<CallToolResult>,
    pub(in crate::cli) failure: Option<Failure>,
}

/// Starts the child, talks to it and ends it.
///
/// # Errors
/// The child could not be started at all. What goes wrong later is in the [`Outcome`], beside what was learned.
pub(in crate::cli) fn run(plan: &Plan) -> Result<Outcome, Failure> {
    until(plan, || {
        let mut interrupt = signal(SignalKind::interrupt())?;
        Ok(async move {
            let _ = interrupt.recv().await;
        })
    })
}

/// The same, until something interrupts it. What that is begins before anything is started, so that none is lost.
pub(super) fn until<F: Future<Output = ()>>(
    plan: &Plan,
    interrupt: impl FnOnce() -> io::Result<F>,
) -> Result<Outcome, Failure> {
    let failed =
        |error: io::Error| Failure::new(ExitStatus::Runtime, format!("the probe cannot start: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let interrupt = interrupt().map_err(failed)?;
        let (word, mark) = voice::word();
        let mut child = Command::new(&plan.program)
            .args(&plan.args)
            .envs(plan.env.iter().map(|(name, value)| (name, &value.0)))
            .env(voice::VARIABLE, &word)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let mut outcome = Outcome::default();
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let listener =
            child.stderr.take().map(|stderr| tokio::spawn(listen(stderr, mark, Arc::clone(&tail))));
        let result = tokio::select! {
            result = converse(&mut child, plan, &mut outcome) => Some(result),
            () = interrupt => None,
        };
        // stdin is closed by now: that ends the server, and npxc ends with it.
        drop(child.stdin.take());
        let ended = timeout(ENDING, child.wait()).await.ok().and_then(Result::ok);
        if ended.is_none() {
            plan.voice.warning("the server did not stop; it is killed");
            let _ = child.kill().await;
        }
        if let Some(listener) = listener {
            let _ = timeout(ANSWER, listener).await;
        }
        outcome.failure = match result {
            Some(Ok(())) => None,
            Some(Err(problem)) => {
                let lines = tail.lock().unwrap_or_else(PoisonError::into_inner);
                Some(explain(&problem, ended, lines.iter()))
            }
            None => Some(Failure::new(ExitStatus::Interrupted, "interrupted")),
        };
        Ok(outcome)
    })
}

async fn converse(child: &mut Child, plan: &Plan, outcome: &mut Outcome) -> Result<(), Problem> {
    let (Some(stdout), Some(stdin)) = (child.stdout.take(), child.stdin.take()) else {
        return Err(Problem::from("npxc has no stdio".to_owned()));
    };
    let own = Implementation::new("npxc-probe", env!("CARGO_PKG_VERSION"));
    let client = ClientConfig::new(ClientCapabilities::default(), own);
    let (stdout, words) = Watched::new(stdout);
    let answer = announced(timeout(plan.timeout, client.serve((stdout, stdin))), plan);
    let not_initialized = |what: String| {
        let what = match words.borrow().as_deref() {
            Some(words) => format!("{what}\nits stdout is no MCP: {}", printable(words, SHOWN)),
            None => what,
        };
        Problem { hint: Some(NOT_A_SERVER.to_owned()), ..Problem::from(what) }
    };
    let answer = tokio::select! {
        answer = answer => answer,
        () = long_after(words.clone()) => {
            return Err(not_initialized("the server did not initialize: it wrote something else".to_owned()));
        }
    };
    let mut service = match answer {
        Ok(Ok(service)) => service,
        Ok(Err(ClientInitializeError::ConnectionClosed(_))) => {
            let what = "the server did not initialize: it ended, or closed its stdout, without an answer";
            return Err(not_initialized(what.to_owned()));
        }
        Ok(Err(error)) => return Err(not_initialized(format!("the server did not initialize: {error}"))),
        Err(_) => {
            let seconds = plan.timeout.as_secs();
            return Err(not_initialized(format!(
                "the server did not answer `initialize` within {seconds} s"
            )));
        }
    };
    outcome.server = service.peer().peer_info().map(|info| info.as_ref().clone());
    let result = ask(service.peer(), plan, outcome).await;
    if result.is_ok() {
        tokio::time::sleep(plan.wait).await;
    }
    let _ = service.close_with_timeout(ANSWER).await;
    result
}

/// Ends some time after there were words.
async fn long_after(mut words: watch::Receiver<Option<String>>) {
    if words.wait_for(Option::is_some).await.is_err() {
        // stdout has ended: that is seen by whoever reads it.
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(AFTER_WORDS).await;
}

/// The same future; says how long it takes.
async fn announced<T>(answer: impl Future<Output = T>, plan: &Plan) -> T {
    let started = Instant::now();
    let mut answer = std::pin::pin!(answer);
    let mut next = FIRST_WORD;
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            () = tokio::time::sleep(next) => {
                let seconds = started.elapsed().as_secs();
                plan.voice.say(&format!("waiting for the server to answer `initialize` ({seconds} s)"));
                next = NEXT_WORD;
            }
        }
    }
}

async fn ask(server: &Peer<RoleClient>, plan: &Plan, outcome: &mut Outcome) -> Result<(), Problem> {
    // All lists have to be there by then.
    let listed = tokio::time::Instant::now() + ANSWER;
    let offers = outcome.server.as_ref().map(|info| info.capabilities.clone()).unwrap_or_default();
    if offers.tools.is_some() {
        let page = async |page| server.list_tools(page).await.map(|list| (list.tools, list.next_cursor));
        outcome.tools = answer("tools/list", listed, all(page)).await?;
    }
    if offers.prompts.is_some() {
        let page = async |page| server.list_prompts(page).await.map(|list| (list.prompts, list.next_cursor));
        outcome.prompts = answer("prompts/list", listed, all(page)).await?;
    }
    if offers.resources.is_some() {
        let page =
            async |page| server.list_resources(page).await.map(|list| (list.resources, list.next_cursor));
        outcome.resources = answer("resources/list", listed, all(page)).await?;
    }
    if let Some((name, arguments)) = &plan.call {
        let call = CallToolRequestParams::new(name.clone()).with_arguments(arguments.clone());
        let called = answer("tools/call", tokio::time::Instant::now() + ANSWER, server.call_tool(call)).await;
        // Servers refuse a name they do not know in either way. One that they do not list may be known all the same.
        let refused = called.as_ref().map_or(true, |called| called.is_error == Some(true));
        let unknown = refused && !outcome.tools.iter().any(|tool| tool.name == *name);
        outcome.called = called.as_ref().ok().cloned();
        if unknown {
            return Err(no_tool(name, &outcome.tools));
        }
        called?;
    }
    Ok(())
}

/// All pages of a list; a server may go on with it forever.
async fn all<T: Serialize>(
    page: impl AsyncFn(Option<PaginatedRequestParams>) -> Result<(Vec<T>, Option<String>), ServiceError>,
) -> Result<Vec<T>, String> {
    let (mut all, mut bytes, mut cursor) = (Vec::new(), 0, None);
    let mut seen = HashSet::new();
    loop {
        let params = PaginatedRequestParams::default().with_cursor(cursor);
        let (items, next) = page(Some(params)).await.map_err(|error| error.to_string())?;
        // As many as they are in JSON; in memory it is a few times that.
        bytes += serde_json::to_vec(&items).map_or(0, |text| text.len());
        bytes += next.as_ref().map_or(0, String::len);
        all.extend(items);
        if all.len() > MOST_ITEMS || bytes > MOST_BYTES || seen.len() >= MOST_PAGES {
            let most = format!("{MOST_ITEMS} items, {MOST_PAGES} pages or {} MiB", MOST_BYTES >> 20);
            return Err(format!("it is longer than {most}"));
        }
        let Some(next) = next else { return Ok(all) };
        if !seen.insert(next.clone()) {
            return Err("its pages lead back to one that was there already".to_owned());
        }
        cursor = Some(next);
    }
}

/// A tool was refused that the server did not list.
fn no_tool(name: &str, tools: &[Tool]) -> Problem {
    let hint = server::its_tools(tools.iter().map(|tool| &*tool.name));
    Problem { what: server::no_tool("--call", name), hint, status: Some(ExitStatus::Config) }
}

async fn answer<T, E: Display>(
    what: &str,
    until: tokio::time::Instant,
    request: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timeout_at(until, request).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => Err(format!("{what} failed: {error}")),
        Err(_) => Err(format!("{what} was not answered within {} s", ANSWER.as_secs())),
    }
}

fn explain<'a>(
    problem: &Problem,
    ended: Option<std::process::ExitStatus>,
    tail: impl Iterator<Item = &'a String>,
) -> Failure {
    let status = problem.status.unwrap_or_else(|| match ended.and_then(|ended| ended.code()) {
        Some(2) => ExitStatus::Runtime,
        Some(3) => ExitStatus::Install,
        Some(_) | None => ExitStatus::GuestDied,
    });
    let mut message = problem.what.clone();
    if let Some(ended) = ended.filter(|ended| !ended.success()) {
        let _ = write!(message, "\nnpxc ended with {ended}");
    }
    // A mistake of the command line is not explained by what the server said.
    let of_server = problem.status.is_none();
    let mut said = tail.filter(|_| of_server).peekable();
    if said.peek().is_some() {
        message.push_str("\nthe last it said:");
        for line in said {
            message.push_str("\n  ");
            message.push_str(line);
        }
    }
    Failure::new(status, message).hints(problem.hint.clone())
}

/// Reads the child's stderr to its end: shows npxc's own lines, which begin with `mark`, and keeps the last of the others.
pub(super) async fn listen(
    mut stderr: impl AsyncRead + Unpin,
    mark: String,
    tail: Arc<Mutex<VecDeque<String>>>,
) {
    let mut line: Vec<u8> = Vec::new();
    let mut chunk = vec![0; 8192];
    let finish = |line: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        line.clear();
        if text.is_empty() {
            return;
        }
        if let Some(own) = text.strip_prefix(&mark) {
            say::note(own.strip_prefix(OWN).unwrap_or(own));
            return;
        }
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(text);
    };
    while let Ok(read) = stderr.read(&mut chunk).await {
        if read == 0 {
            break;
        }
        for byte in chunk.iter().take(read) {
            if *byte == b'\n' {
                finish(&mut line);
            } else if line.len() < LINE {
                line.push(*byte);
            }
        }
    }
    finish(&mut line);
}
