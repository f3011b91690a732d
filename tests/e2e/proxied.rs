//! A machine that reaches the registry through a company's proxy only as far as that lets it: tinyproxy on loopback, with
//! Basic authentication, and microsocks with user and password (RFC 1929).

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::machine::have;
use super::mcp::Client;
use super::processes::eventually;
use super::world::{Audit, Npxc, world};

const SERVER: &str = "package-registry-mcp@2.1.0";
/// tinyproxy takes no characters that have to be encoded in a URL; one is, all the same.
const PASSWORD: &str = "p-ss.w_rd";
const IN_URL: &str = "p%2Dss.w_rd";
/// `user:p-ss.w_rd`, as Basic authentication has it.
const ENCODED: &str = "dXNlcjpwLXNzLndfcmQ=";

/// microsocks takes any; all of these have a meaning in URLs.
const SOCKS_PASSWORD: &str = "p@ss:w/r%d";
const SOCKS_IN_URL: &str = "p%40ss%3Aw%2Fr%25d";

/// A proxy of the test's own; it ends with this.
struct Proxy {
    port: u16,
    directory: PathBuf,
    child: Child,
}

impl Proxy {
    /// Starts one with these lines in its configuration besides.
    fn start(more: &str) -> Self {
        let directory = world().scratch("proxy");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let configuration = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 120\nMaxClients 100\nLogLevel Connect\nLogFile \"{}\"\n\
             BasicAuth user {PASSWORD}\n{more}",
            directory.join("log").display()
        );
        let file = directory.join("tinyproxy.conf");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(&file);
        Self::spawn(command, port, directory)
    }

    /// Starts one that speaks SOCKS5.
    fn socks() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &port.to_string(), "-u", "user", "-P", SOCKS_PASSWORD]);
        Self::spawn(command, port, world().scratch("proxy"))
    }

    fn spawn(mut command: Command, port: u16, directory: PathBuf) -> Self {
        let stderr = fs::File::create(directory.join("stderr")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let mut proxy = Self { port, directory, child };
        eventually("the proxy listens", || {
            assert!(proxy.child.try_wait().unwrap().is_none(), "the proxy ended: {}", proxy.log());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        proxy
    }

    fn url(&self, password: &str) -> String {
        format!("http://user:{password}@127.0.0.1:{}", self.port)
    }

    /// As it is shown.
    fn shown(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn log(&self) -> String {
        ["log", "stderr"]
            .map(|name| fs::read_to_string(self.directory.join(name)).unwrap_or_default())
            .concat()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An npxc with a store of its own, on a machine that has only this proxy.
fn npxc(proxy: &str, data: &Path, arguments: &[&str]) -> Npxc {
    let mut npxc = world().npxc(arguments);
    for name in ["https_proxy", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"] {
        npxc.command.env_remove(name);
    }
    // npm would try a proxy that refuses again for a minute.
    npxc.command.env("XDG_DATA_HOME", data).env("HTTPS_PROXY", proxy).env("npm_config_fetch_retries", "0");
    npxc
}

fn opened(audit: &Audit) -> Vec<Value> {
    audit.events().into_iter().filter(|event| event["event"] == "flow.open").collect()
}

/// Nothing that npxc wrote has the password in it, in any form.
fn assert_no_secrets(text: &str, audit: &Audit) {
    let log: String = audit.events().iter().map(ToString::to_string).collect();
    for secret in [PASSWORD, IN_URL, ENCODED, SOCKS_PASSWORD, SOCKS_IN_URL, "user:"] {
        assert!(!text.contains(secret) && !log.contains(secret), "{secret} in {text} or {log}");
    }
}

#[test]
fn a_package_is_installed_and_runs_through_a_proxy_with_authentication() {
    if !have("tinyproxy") {
        return;
    }
    let proxy = Proxy::start("");
    let data = world().scratch("data");
    let mut client = Client::start(npxc(&proxy.url(IN_URL), &data, &["--allow", "@npm", SERVER]));
    let text = client.text("get-npm-package-details", json!({"name": "left-pad"}));
    assert!(text.contains("left-pad"), "{text}");
    let (status, stderr, audit) = client.close();
    assert!(status.success(), "{stderr}");

    assert_eq!((audit.sessions("fetch"), audit.sessions("run")), (1, 1));
    let opened = opened(&audit);
    let by_name = format!("{} by name", proxy.shown());
    for event in &opened {
        assert_eq!(event["dialled"], format!("127.0.0.1:{}", proxy.port), "{event}");
        assert!(event["via"].as_str().unwrap().starts_with(&by_name), "{event}");
    }
    let asked = proxy.log();
    let asked: Vec<&str> = asked.lines().filter(|line| line.contains("CONNECT ")).collect();
    assert!(opened.len() >= 2 && asked.len() >= opened.len(), "{opened:?} {asked:?}");
    // Said once for the installation, and once for the run.
    let said = format!("connections go through the proxy {} (HTTPS_PROXY)", proxy.shown());
    assert_eq!(stderr.matches(&said).count(), 2, "{stderr}");
    assert_no_secrets(&stderr, &audit);

    // What the host knows of its proxy, the guest does not; and what goes past it does.
    let fixture = world().fixture().display().to_string();
    let shown = npxc(&proxy.url(IN_URL), &data, &["--dry-run", "--allow", "@npm", &fixture]);
    let (output, audit) = shown.output();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("proxy          {} (HTTPS_PROXY)\n", proxy.shown())), "{text}");
    assert_no_secrets(&text, &audit);
}

#[test]
fn a_proxy_that_refuses_is_a_refused_connection_and_says_why() {
    if !have("tinyproxy") {
        return;
    }
    // Other credentials: the package cannot be fetched.
    let proxy = Proxy::start("");
    let data = world().scratch("data");
    let (output, audit) = npxc(&proxy.url("wrong%2Fsecret"), &data, &["--allow", "@npm", SERVER]).output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("refused by the proxy: it wants other credentials"), "{stderr}");
    assert!(stderr.contains("npxc: hint: ") && !stderr.contains("wrong"), "{stderr}");
    assert_no_secrets(&stderr, &audit);

    // Rules of its own: the package is there, and what it asks for is refused.
    let filter = world().scratch("filter").join("filter");
    fs::write(&filter, "^nothing\\.example$\n").unwrap();
    let strict = Proxy::start(&format!("Filter \"{}\"\nFilterDefaultDeny Yes\n", filter.display()));
    let through = npxc(&strict.url(IN_URL), &data, &["install", SERVER]);
    let (output, _) = through.output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("refused by the proxy: 403 Forbidden"), "{stderr}");
    let (output, _) = npxc(&proxy.url(IN_URL), &data, &["install", SERVER]).output();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let mut client = Client::start(npxc(&strict.url(IN_URL), &data, &["--allow", "@npm", SERVER]));
    let answer = client.call("get-npm-package-details", json!({"name": "left-pad"}));
    assert!(!answer.to_string().contains("Steve Mao"), "{answer}");
    let (_, stderr, audit) = client.close();
    let refused = "was refused by the proxy: 403 Forbidden\n";
    assert_eq!(stderr.matches(refused).count(), 1, "once, however often it tried: {stderr}");
    let closes: Vec<Value> =
        audit.events().into_iter().filter(|event| event["event"] == "flow.close").collect();
    assert!(!closes.is_empty());
    for close in &closes {
        assert_eq!(close["how"], "refused by the proxy: 403 Forbidden");
        assert!(close["hint"].as_str().unwrap().contains("NO_PROXY"), "{close}");
    }
    assert_no_secrets(&stderr, &audit);

    // No proxy at all, although the environment names one.
    let (output, audit) =
        npxc("http://127.0.0.1:9", &world().scratch("data"), &["--proxy", "none", "install", SERVER])
            .output();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(opened(&audit).iter().all(|event| event["via"].is_null()));
}

#[test]
fn a_socks_proxy_with_a_password_is_sent_names_or_addresses() {
    if !have("microsocks") {
        return;
    }
    let proxy = Proxy::socks();
    let data = world().scratch("data");
    for (scheme, how) in [("socks5h", "by name"), ("socks5", "by address")] {
        let url = format!("{scheme}://user:{SOCKS_IN_URL}@127.0.0.1:{}", proxy.port);
        // The first one installs it as well.
        let mut client = Client::start(npxc(&url, &data, &["--allow", "@npm", SERVER]));
        let text = client.text("get-npm-package-details", json!({"name": "left-pad"}));
        assert!(text.contains("left-pad"), "{text}");
        let (status, stderr, audit) = client.close();
        assert!(status.success(), "{stderr}");
        assert_eq!((audit.sessions("fetch"), audit.sessions("run")), (usize::from(scheme == "socks5h"), 1));
        let opened = opened(&audit);
        let via = format!("{scheme}://127.0.0.1:{} {how}", proxy.port);
        assert!(!opened.is_empty());
        for event in &opened {
            assert_eq!(event["dialled"], format!("127.0.0.1:{}", proxy.port), "{event}");
            assert!(event["via"].as_str().unwrap().starts_with(&via), "{event}");
        }
        assert_no_secrets(&stderr, &audit);

        // A person reads it in the log's summary.
        let shown = world().command(&["audit", "show", audit.0.to_str().unwrap()]).output().unwrap();
        let text = String::from_utf8_lossy(&shown.stdout);
        assert!(text.contains(&format!("\n      through the proxy {via}")), "{text}");
    }

    let wrong = format!("socks5h://user:wrong%2Fsecret@127.0.0.1:{}", proxy.port);
    let (output, audit) = npxc(&wrong, &world().scratch("data"), &["install", SERVER]).output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("refused by the proxy: it wants other credentials"), "{stderr}");
    assert!(stderr.contains("npxc: hint: ") && !stderr.contains("wrong"), "{stderr}");
    assert_no_secrets(&stderr, &audit);
}

#[test]
fn doctor_takes_the_proxy_that_a_run_would_take() {
    if !have("microsocks") {
        return;
    }
    let proxy = Proxy::socks();
    let configuration = world().scratch("configuration");
    let found = |line: &str| {
        fs::create_dir_all(configuration.join("npxc")).unwrap();
        fs::write(configuration.join("npxc/npxc.toml"), format!("[defaults.network]\nproxy = \"{line}\"\n"))
            .unwrap();
        let mut command = world().command(&["doctor", "--online", "--json"]);
        // One that nothing gets through.
        command.env("XDG_CONFIG_HOME", &configuration).env("HTTPS_PROXY", "http://127.0.0.1:9");
        let output = command.output().unwrap();
        let all: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut checks = all["checks"].as_array().unwrap().clone();
        checks.retain(|check| {
            check["area"] == "packages" && ["proxy", "online"].contains(&check["step"].as_str().unwrap())
        });
        assert!(!String::from_utf8_lossy(&output.stdout).contains(SOCKS_IN_URL));
        checks
    };
    let chosen = found(&format!("socks5h://user:{SOCKS_IN_URL}@127.0.0.1:{}", proxy.port));
    let shown = format!("socks5h://127.0.0.1:{}", proxy.port);
    let by = format!("{shown} ({})", configuration.join("npxc/npxc.toml").display());
    assert_eq!(chosen[0]["detail"], by, "{chosen:?}");
    assert!(chosen.len() > 1);
    for check in &chosen[1..] {
        assert!(
            check["detail"].as_str().unwrap().ends_with(&format!("answers behind {shown}")),
            "{chosen:?}"
        );
    }
    let none = found("none");
    assert!(none[0]["detail"].as_str().unwrap().starts_with("none ("), "{none:?}");
    assert!(none[1..].iter().all(|check| check["state"] == "passed"), "{none:?}");
}
