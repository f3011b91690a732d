//! Files as people really have them, there and back on the disk.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;

/// A file of a client's, as `place` would have it, with everything around it.
fn there_and_back(place: &str, text: &str) -> Vec<(String, String)> {
    let ground = Ground::new(text);
    fs::set_permissions(ground.file(), fs::Permissions::from_mode(0o600)).unwrap();
    let place = super::place(place);
    let of = || {
        let mut work = work(place.clone(), &ground.file(), &["--allow=api.example.com:443"]);
        work.read.path = ground.file();
        work
    };
    let wrapping = of();
    let verdicts = wrapping.verdicts.iter().map(|(server, verdict)| {
        let what = match verdict {
            Verdict::Wrap(_) => "wrapped".to_owned(),
            Verdict::Already(_) => "already".to_owned(),
            Verdict::Leave(why) => why.clone(),
        };
        (server.name().to_owned(), what)
    });
    let verdicts: Vec<_> = verdicts.collect();
    write(&wrapping, &ground.directories, silent()).unwrap();
    let any = verdicts.iter().any(|(_, what)| what == "wrapped");
    assert_eq!(ground.text() != text, any, "{verdicts:?}");
    let again = of();
    assert!(again.splices().is_empty(), "a second time: {}", ground.text());
    let back = unwrap::Work::of(again.read, &Choice::default(), &ground.directories).unwrap();
    unwrap::write(&back, &ground.directories, silent()).unwrap();
    assert!(ground.text() == text, "{place:?}:\n{}\ncomes back as\n{}", text, ground.text());
    assert_eq!(fs::metadata(ground.file()).unwrap().mode() & 0o777, 0o600);
    let wrapped = ground.directories.data.join("wrapped");
    // Nothing is left to know.
    for entry in fs::read_dir(wrapped).into_iter().flatten() {
        assert_eq!(entry.unwrap().file_name(), "lock");
    }
    verdicts
}

#[test]
fn every_clients_file_comes_back_however_its_lines_end() {
    for (name, path) in FIXTURES {
        let text = fs::read_to_string(data(name)).unwrap();
        let text = text.trim_start_matches('\u{feff}').to_owned();
        let windows = text.replace('\n', "\r\n");
        let tabs = text.replace("  ", "\t");
        let mixed: String = text
            .split_inclusive('\n')
            .enumerate()
            .map(|(index, line)| if index % 2 == 0 { line.replace('\n', "\r\n") } else { line.to_owned() })
            .collect();
        let bom = |text: &str| format!("\u{feff}{text}");
        let expected = there_and_back(path, &text);
        assert!(expected.iter().any(|(_, what)| what == "wrapped"), "{name}");
        for odd in [
            &windows,
            &tabs,
            &mixed,
            &bom(&text),
            &bom(&windows),
            text.trim_end(),
            &format!("{text}\n\n \t\n"),
        ] {
            assert_eq!(there_and_back(path, odd), expected, "{name}");
        }
    }
}

#[test]
fn every_way_to_start_a_server_is_wrapped_or_said() {
    let wrapped = "wrapped";
    let ways = [
        (r#""command":"npx","args":["a"]"#, wrapped),
        (r#""args":["-y","a",],"command":"npx","#, wrapped),
        (
            r#""type":"stdio","command":"npx","args":["-y","a"],"cwd":"/srv/project","disabled":true,"timeout":60,"alwaysAllow":["x"]"#,
            wrapped,
        ),
        (r#""command":"npx","args":["-y","a"],"env":{}"#, wrapped),
        (r#""command":"npx","args":["-y","a"],"env":null"#, wrapped),
        (r#""command":"npx","args":["-y","a"],"env":{"A":"1","A":"2","B":3,"C":null}"#, wrapped),
        (
            r#""command":"C:\\Program Files\\nodejs\\npx.cmd","args":["-y","a","C:\\Users\\me\\notes"]"#,
            wrapped,
        ),
        (r#""command":"C:/nodejs/NPX.CMD","args":["-y","a"]"#, wrapped),
        (r#""command":"cmd","args":["/c","npx","-y","a"]"#, wrapped),
        (r#""command":"cmd.exe","args":["/C","npx.cmd","a","b"]"#, wrapped),
        (r#""command":"C:\\Windows\\System32\\cmd.exe","args":["/c","npx","-p","a","bin"]"#, wrapped),
        (r#""command":"\u006epx","args":["\u002dy","\u0061"]"#, wrapped),
        (r#""command":"npx","args":["-y","-p","@a/b@1","bin","x"]"#, wrapped),
        (r#""command":"npx","args":["--package","a","--package=b","bin"]"#, wrapped),
        (r#""command":"npx","args":["-y","--package=a","--","bin","-x"]"#, wrapped),
        (r#""command":"npx","args":["-y","--","a","--","x"]"#, wrapped),
        (r#""command":"npx","args":["a","--allow","--","-y"]"#, wrapped),
        (r#""command":"npx","args":["list"]"#, wrapped),
        (r#""command":"npx","args":["--yes","a","\ud83d"]"#, "an argument of it is not text"),
        (r#""command":"npx","args":["--yes","a","", " ", "é\u0009\"\\\/"]"#, wrapped),
        (r#""command":"x","command":"npx","args":["x"],"args":["a"]"#, wrapped),
        (r#""command":"npx","args":["-y","a"],"command":"uvx""#, "uvx is not npx"),
        (r#""command":"npxc","args":["--allow=@npm","a"]"#, "already"),
        (r#""command":"/home/me/.cargo/bin/npxc","args":["a"]"#, "already"),
        (r#""type":"http","url":"https://example.com/mcp","headers":{"A":"b"}"#, "it is remote"),
        (r#""type":"sse","serverUrl":"https://example.com/mcp""#, "it is remote"),
        (r#""command":"npx""#, "it names no package"),
        (r#""command":"npx","args":[]"#, "it names no package"),
        (r#""command":"npx","args":["--"]"#, "npxc has no `--` as npx has it"),
        (r#""command":"npx -y a""#, "its command is a line (`npx ...`), not a program with args"),
        (r#""command":"npx","args":["-yp","a","bin"]"#, "npxc has no `-yp` as npx has it"),
        (r#""command":"npx","args":["--quiet","a"]"#, "npxc has no `--quiet` as npx has it"),
        (r#""command":"npx","args":["-y","a","-c"]"#, wrapped),
        (r#""command":"pnpm","args":["dlx","a"]"#, "pnpm is not npx"),
        (r#""command":"bunx","args":["-y","a"]"#, "bunx is not npx"),
        (r#""command":"npm","args":["exec","--","a"]"#, "npm is not npx"),
        (r#""command":"bash","args":["-c","npx -y a"]"#, "npx is started through bash: change that by hand"),
        (r#""command":"cmd","args":["/c","npx -y a"]"#, "npx is started through cmd: change that by hand"),
        ("", "it has no command of its own"),
    ];
    let found = ways.map(|(entry, _)| {
        let text = format!("{{\n\t\"mcpServers\" : {{ \"s\": {{{entry}}} }},\r\n}}");
        let verdicts = there_and_back("/home/me/.cursor/mcp.json", &text);
        (entry, verdicts.into_iter().map(|(_, verdict)| verdict).collect::<String>())
    });
    assert_eq!(found.each_ref().map(|(entry, found)| (*entry, found.as_str())), ways);
}

#[test]
fn comments_and_blanks_stand_anywhere() {
    let tokens = [
        "{",
        "\"mcpServers\"",
        ":",
        "{",
        "\"s\"",
        ":",
        "{",
        "\"command\"",
        ":",
        "\"npx\"",
        ",",
        "\"args\"",
        ":",
        "[",
        "\"-y\"",
        ",",
        "\"a\"",
        ",",
        "\"x\"",
        "]",
        ",",
        "\"env\"",
        ":",
        "{",
        "\"A\"",
        ":",
        "\"1\"",
        "}",
        "}",
        "}",
        "}",
        "",
    ];
    let back = |text: &str| {
        assert_eq!(there_and_back("/home/me/.cursor/mcp.json", text)[0].1, "wrapped", "{text}");
    };
    let blanks = ["// { \"npx\" [\n", "/* , */", "\r\n\t", "/**/ // \"\r\n  ", "\n\n"];
    for at in 0..tokens.len() {
        let blank = blanks[at % blanks.len()];
        back(&[&tokens[..at], &[blank], &tokens[at..]].concat().concat());
    }
    for blank in blanks {
        back(&tokens.map(|token| format!("{blank}{token}")).concat());
    }
    for text in [
        "",
        "{}",
        "\u{feff}{}\r\n",
        "// nothing\n",
        "{\"mcpServers\": {}}",
        "{\"mcpServers\": {},}\n",
        "{\"mcpServers\": null}",
    ] {
        assert_eq!(there_and_back("/home/me/.cursor/mcp.json", text), [], "{text}");
    }
}

#[test]
fn toml_in_all_its_forms_comes_back() {
    let wrapped = [("s".to_owned(), "wrapped".to_owned())];
    for text in [
        "[mcp_servers.s]\ncommand = 'npx'\nargs = [ '-y', 'a' ]",
        "mcp_servers.s.command = \"npx\"\nmcp_servers.s.args = [\"-y\",\n  # the package\n  \"a\", # here\n]\n",
        "mcp_servers = { s = { command = \"npx\", args = [\"a\"] } }",
        "[mcp_servers]\ns = {args=[\"\"\"-y\"\"\",'''a''', 'C:\\Users\\me'],command=\"\"\"npx\"\"\"}\r\n",
        "[mcp_servers.\"s\"]\n  command=\"n\\u0070x\"\n  args=[\n\t'--package', \"a\"\n\t, '--', 'bin' ,\n]\n  enabled = false\n  env = { A = \"1\", B = 2 }\n",
        "# x\r\n[ mcp_servers . s ]\r\nargs = [\r\n  \"-y\", # yes\r\n  \"a\"\r\n]\r\ncommand = \"npx\" # c\r\nenv_vars = [\"T\"]\r\n",
        "[mcp_servers.s]\nargs = ['''\n-y''', \"\"\"\na\"\"\"]\ncommand = 'npx'",
    ] {
        for text in [text.to_owned(), format!("\u{feff}{text}")] {
            assert_eq!(there_and_back("/home/me/.codex/config.toml", &text), wrapped, "{text}");
        }
    }
    for text in ["", "# nothing\r\n", "\u{feff}", "[mcp_servers]\n"] {
        assert_eq!(there_and_back("/home/me/.codex/config.toml", text), [], "{text}");
    }
}

#[test]
fn a_link_stays_one_and_its_file_keeps_its_mode() {
    let ground = Ground::new(TWO);
    let real = ground.directory.path().join("dotfiles.json");
    fs::rename(ground.file(), &real).unwrap();
    symlink("dotfiles.json", ground.file()).unwrap();
    for mode in [0o600, 0o644, 0o664] {
        fs::set_permissions(&real, fs::Permissions::from_mode(mode)).unwrap();
        write(&ground.wrapping("a"), &ground.directories, silent()).unwrap();
        assert!(fs::read_to_string(&real).unwrap().contains("npxc"));
        let still = |path: &Path| (fs::metadata(path).unwrap().mode() & 0o777, ground.file().is_symlink());
        assert_eq!(still(&real), (mode, true));
        assert_eq!(fs::metadata(&ground.record().1.backups[0]).unwrap().mode() & 0o777, 0o600);
        unwrap::write(&ground.unwrapping("a"), &ground.directories, silent()).unwrap();
        assert_eq!((fs::read_to_string(&real).unwrap().as_str(), still(&real)), (TWO, (mode, true)));
    }
}
