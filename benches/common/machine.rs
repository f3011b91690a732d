//! Where and when it was measured, and with what.

use std::process::Command;

/// One line each: date, machine, kernel, versions.
pub fn describe() -> Vec<(&'static str, String)> {
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let uname = rustix::system::uname();
    vec![
        ("date", jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()),
        ("machine", format!("{model}, {cores} cores, {:.0} GB", memory())),
        ("kernel", format!("Linux {}", uname.release().to_string_lossy())),
        ("npxc", env!("CARGO_PKG_VERSION").to_owned()),
        ("pasta", package("passt", &["pasta", "--version"])),
        ("slirp4netns", package("slirp4netns", &["slirp4netns", "--version"])),
        ("boringtun-cli", first_line(&["boringtun-cli", "--version"])),
        ("wireguard-go", package("wireguard-go", &["wireguard-go", "--version"])),
        ("node", first_line(&["node", "--version"])),
        ("npx", first_line(&["npx", "--version"])),
    ]
}

fn memory() -> f64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    kilobytes.and_then(|number| number.trim().parse::<f64>().ok()).unwrap_or(0.0) / 1e6
}

/// A distribution's version of a program, or its own word for it.
fn package(name: &str, version: &[&str]) -> String {
    let asked = Command::new("dpkg-query").args(["-W", "-f", "${Version}", name]).output();
    match asked {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Ok(_) | Err(_) => first_line(version),
    }
}

fn first_line(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
        }
        Ok(_) | Err(_) => "missing".to_owned(),
    }
}
