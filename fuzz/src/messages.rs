//! Target of the codec of messages and of what finds paths in them.

use std::convert::Infallible;

use npxc::rpc::frame::{Piece, Splitter};
use npxc::rpc::identify::{Configured, shape};
use npxc::rpc::json::{Scanner, splice, text};
use npxc::rpc::translate::{Answer, Outcome, Translator};

/// A stream in two pieces loses and gains nothing; a line without a replacement is itself; what is decoded and encoded
/// means the same; a call whose paths were shared names them again on the way back.
pub(crate) fn messages(data: &[u8]) {
    let mut out = Vec::new();
    let mut splitter = Splitter::default();
    let mut give = |piece: Piece<'_>| -> Result<(), Infallible> {
        match piece {
            Piece::Message(bytes, _) | Piece::Through(bytes, _) => out.extend_from_slice(bytes),
        }
        Ok(())
    };
    let (first, second) = data.split_at(data.len() / 2);
    for piece in [first, second] {
        let Ok(()) = splitter.push(piece, &mut || true, &mut give);
    }
    let Ok(()) = splitter.end(&mut give);
    assert_eq!(out, data, "framing changes nothing");

    assert_eq!(splice(data, &[]), data);
    let mut scanner = Scanner::new(data);
    while let Ok(Some(token)) = scanner.next() {
        let raw = &data[token.span.clone()];
        if let Some(value) = text::decode(raw) {
            assert_eq!(text::decode(text::encode(&value).as_bytes()).as_deref(), Some(&*value));
            if let Some(written) = shape::read(&value).filter(|written| written.uri) {
                let uri = format!("file://{}", shape::percent_encode(&written.path));
                assert_eq!(shape::read(&uri), Some(written));
            }
        }
    }
    line(data);
}

/// One line of the client's through the translator and back.
fn line(data: &[u8]) {
    let mut translator = Translator::new(Configured::default());
    assert_eq!(translator.server(data), None, "nothing is shared");
    let Some(call) = translator.client(data) else { return };
    let answers = call.named().map(|named| match named.written.path.strip_prefix("/scope/") {
        Some(name) if !name.is_empty() && !name.contains('/') => Answer::Shared {
            place: 1,
            directory: "/scope".to_owned(),
            name: name.to_owned(),
            writable: false,
        },
        _ => Answer::Leave,
    });
    let answers = answers.collect();
    match translator.answered(data, &call, answers) {
        Outcome::Forward => {}
        Outcome::Reply(_) | Outcome::Both { .. } => panic!("nothing was refused"),
        Outcome::Changed(there) => {
            let values = |line: &[u8]| {
                let mut translator = Translator::new(Configured::default());
                let call = translator.client(line);
                call.iter()
                    .flat_map(npxc::rpc::translate::Call::named)
                    .map(|named| named.written.clone())
                    .collect::<Vec<_>>()
            };
            let back = translator.server(&there).unwrap_or(there);
            // The guest's own path in the client's words comes back as the client's: nothing tells the two apart.
            if !data.windows(11).any(|bytes| bytes == b"npxc-shared") {
                assert_eq!(values(&back), values(data), "the same paths");
            }
        }
    }
}
