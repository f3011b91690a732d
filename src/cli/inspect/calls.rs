//! What becomes of the strings in a call's arguments, decided by the code that decides it for a client.

use serde_json::{Value, json};

use crate::cli::audit::to_json;
use crate::cli::table::Table;
use crate::config::Resolved;
use crate::exit::Failure;
use crate::rpc::identify::{NoPath, Other};
use crate::rpc::translate::{Explained, Refusal, Translator};
use crate::runtime::Access;
use crate::session::{Sight, Sights};

/// Characters of a value that are shown to a person.
const SHOWN: usize = 80;

/// What becomes of a call's strings.
pub(super) fn text(
    translator: &Translator,
    resolved: &Resolved,
    tool: &str,
    arguments: &Value,
    as_json: bool,
) -> Result<String, Failure> {
    let sights = Sights::of(resolved)?;
    let rows = translator.explain(tool, arguments);
    let rows: Vec<(Explained, Option<Sight>)> = rows
        .into_iter()
        .map(|row| {
            let sight = row.path.as_ref().ok().map(|named| sights.of_path(named, row.decides));
            (row, sight)
        })
        .collect();
    if as_json {
        let rows: Vec<Value> = rows.iter().map(|(row, sight)| as_value(row, sight.as_ref())).collect();
        return to_json(&json!({"tool": tool, "strings": rows}));
    }
    let mut table = Table::new(&["argument", "value", "path", "why", "what becomes of it"]).uncut();
    for (row, sight) in &rows {
        let (is, why) = match &row.path {
            Ok(named) => ("yes", named.reason.to_string()),
            Err(why) => ("no", why_not(*why, &row.value)),
        };
        let value = row.path.as_ref().map_or(&row.value, |named| &named.text);
        let value: String = value.chars().take(SHOWN).collect();
        let becomes = sight.as_ref().map_or_else(String::new, words);
        table.row(vec![row.argument.clone(), value, is.to_owned(), why, becomes]);
    }
    Ok(if rows.is_empty() { "there is no string in these arguments\n".to_owned() } else { table.render() })
}

/// Of `A1:B1` nobody wants to hear that it might be a URL.
fn why_not(why: Other, value: &str) -> String {
    match why {
        Other::Value(NoPath::Url) if !value.contains("://") => "not a path".to_owned(),
        _ => why.to_string(),
    }
}

fn words(sight: &Sight) -> String {
    match sight {
        Sight::Copy(Access::ReadOnly) => "shared as a read-only copy".to_owned(),
        Sight::Copy(Access::ReadWrite) => "shared as a copy, and brought back".to_owned(),
        Sight::New => "may be made there, and is brought back".to_owned(),
        Sight::Mount(guest) => format!("{guest}, in a mount"),
        Sight::Left(why) => format!("left as it is: {why}"),
        Sight::Refused(Refusal { reason, hint, .. }) => {
            let hint = hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
            format!("the call is refused: it {reason}{hint}")
        }
    }
}

fn as_value(row: &Explained, sight: Option<&Sight>) -> Value {
    let (why, path) = match &row.path {
        Ok(named) => (named.reason.to_string(), Some(&named.text)),
        Err(why) => (why_not(*why, &row.value), None),
    };
    let (place, detail, hint) = match sight {
        None => (None, None, None),
        Some(Sight::Copy(Access::ReadOnly)) => (Some("copy"), Some("read-only"), None),
        Some(Sight::Copy(Access::ReadWrite)) => (Some("copy"), Some("brought back"), None),
        Some(Sight::New) => (Some("new"), None, None),
        Some(Sight::Mount(guest)) => (Some("mount"), Some(guest.as_str()), None),
        Some(Sight::Left(why)) => (Some("left"), Some(why.as_str()), None),
        Some(Sight::Refused(refusal)) => {
            (Some("refused"), Some(refusal.reason.as_str()), refusal.hint.as_ref())
        }
    };
    json!({"argument": row.argument, "value": row.value, "path": path, "why": why, "place": place, "detail": detail,
        "hint": hint})
}
