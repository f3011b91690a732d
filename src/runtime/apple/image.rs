//! Images, by `container image`.

use std::time::Duration;

use serde_json::Value;

use super::{Apple, PATIENCE};
use crate::runtime::RuntimeError;

/// How long a pull may take: a large image over a slow line.
const PULL: Duration = Duration::from_hours(1);

/// An image that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What it is called.
    pub reference: String,
    /// What its content is called.
    pub digest: String,
    /// `PATH` in its environment.
    pub path: Option<String>,
}

impl Apple {
    /// Finds an image, or pulls it. `say` is told before that.
    pub fn find_image(&self, reference: &str, say: &mut dyn FnMut(&str)) -> Result<Image, RuntimeError> {
        let words = ["image", "inspect", reference];
        let found = self.client.ask(&words, PATIENCE)?;
        let answer = if found.success {
            found.stdout
        } else {
            say(&format!("pulling {reference}"));
            self.client.run(&["image", "pull", reference], PULL)?;
            self.client.run(&words, PATIENCE)?
        };
        parse(reference, &answer).map_err(|why| self.client.failed(&words, why.into()))
    }
}

/// Reads the answer to `image inspect` for one image, in the shapes before and after 1.0.
fn parse(reference: &str, answer: &str) -> Result<Image, &'static str> {
    let all: Vec<Value> = serde_json::from_str(answer).map_err(|_| "unexpected answer")?;
    let image = all.first().ok_or("an empty answer")?;
    let digest = ["/configuration/descriptor/digest", "/index/digest", "/descriptor/digest"]
        .iter()
        .find_map(|place| image.pointer(place)?.as_str())
        .ok_or("it has no digest")?;
    let variants = image.get("variants").and_then(Value::as_array).into_iter().flatten();
    let fits = |variant: &&Value| {
        let of = |key| variant.pointer(key).and_then(Value::as_str);
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        of("/platform/os") == Some("linux") && of("/platform/architecture") == Some(architecture)
    };
    let path = variants.filter(fits).find_map(|variant| {
        let variables = variant.pointer("/config/config/Env")?.as_array()?;
        variables.iter().find_map(|variable| variable.as_str()?.strip_prefix("PATH="))
    });
    Ok(Image { reference: reference.into(), digest: digest.into(), path: path.map(Into::into) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_image_is_read_in_both_shapes() {
        let variant = |architecture| {
            format!(
                r#"{{"platform": {{"os": "linux", "architecture": "{architecture}"}}, "digest": "sha256:2",
                    "config": {{"config": {{"Env": ["A=b", "PATH=/{architecture}/bin"]}}}}}}"#
            )
        };
        let variants = [variant("arm64"), variant("amd64")].join(", ");
        let new = format!(
            r#"[{{"id": "1", "configuration": {{"name": "node:22", "descriptor": {{"digest": "sha256:1"}}}},
                "variants": [{variants}]}}]"#
        );
        let old = format!(
            r#"[{{"name": "node:22", "index": {{"digest": "sha256:1"}}, "variants": [{variants}]}}]"#
        );
        let path = if cfg!(target_arch = "aarch64") { "/arm64/bin" } else { "/amd64/bin" };
        let image = Image { reference: "node:22".into(), digest: "sha256:1".into(), path: Some(path.into()) };
        assert_eq!(parse("node:22", &new).unwrap(), image);
        assert_eq!(parse("node:22", &old).unwrap(), image);
        assert!(parse("node:22", "[]").is_err() && parse("node:22", "[{}]").is_err());
    }
}
