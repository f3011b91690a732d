//! A server that reads and writes Excel workbooks by the client's paths.

use std::fs;

use serde_json::{Value, json};

use super::files::{clean, text};
use super::mcp::{Client, text_of};
use super::world::world;

const EXCEL: &str = "@negokaz/excel-mcp-server@0.12.0";

#[test]
fn a_spreadsheet_is_read_by_the_clients_path() {
    let cwd = world().scratch("a ledger");
    let book = text(&cwd.join("tides 2026.xlsx"));
    fs::write(&book, spreadsheet("Tides", [("Brest", "6.9"), ("Saint-Malo", "12.25")])).unwrap();
    let mut client = Client::start(world().npxc(&["--cwd", &text(&cwd), EXCEL]));
    client.tools();
    let sheets = client.call("excel_describe_sheets", json!({"fileAbsolutePath": book}));
    assert!(text_of(&sheets).contains("Tides"), "{sheets}");
    clean(&sheets);
    let read = client.call("excel_read_sheet", json!({"fileAbsolutePath": book, "sheetName": "Tides"}));
    assert!(text_of(&read).contains("Saint-Malo") && text_of(&read).contains("12.25"), "{read}");
    clean(&read);
    let wrong = client.call("excel_read_sheet", json!({"fileAbsolutePath": book, "sheetName": "Ebb"}));
    assert_eq!(wrong["isError"], true, "{wrong}");
    clean(&wrong);
    assert!(client.close().0.success());
}

#[test]
fn a_spreadsheet_is_written_and_read_back_by_the_clients_path() {
    let cwd = world().scratch("a written ledger");
    let book = cwd.join("tides 2026.xlsx");
    fs::write(&book, spreadsheet("Tides", [("Brest", "6.9"), ("Saint-Malo", "12.25")])).unwrap();
    let write = |client: &mut Client, sheet: &str, new: bool, range: &str, values: Value| {
        let arguments = json!({"fileAbsolutePath": text(&book), "sheetName": sheet, "newSheet": new,
            "range": range, "values": values});
        let result = client.call("excel_write_to_sheet", arguments);
        assert_ne!(result["isError"], true, "{result}");
        clean(&result);
    };
    let read = |client: &mut Client, sheet: &str| {
        let arguments = json!({"fileAbsolutePath": text(&book), "sheetName": sheet});
        let result = client.call("excel_read_sheet", arguments);
        clean(&result);
        text_of(&result)
    };
    let mut client = Client::start(world().npxc(&["--cwd", &text(&cwd), "--write", EXCEL]));
    client.tools();
    for (height, town) in [("13.5", "Granville"), ("4.25", "Le Conquet")] {
        let before = fs::read(&book).unwrap();
        write(&mut client, "Tides", false, "A3:B3", json!([[town, height]]));
        assert_ne!(fs::read(&book).unwrap(), before, "the reply is there, and the file as well");
        let said = read(&mut client, "Tides");
        assert!(said.contains(town) && said.contains(height) && said.contains("Brest"), "{said}");
    }
    write(&mut client, "Ebb", true, "A1:A1", json!([["Mont Saint-Michel"]]));
    assert!(client.close().0.success());
    // By another session, which has nothing but the file, and may not write.
    let mut client = Client::start(world().npxc(&["--cwd", &text(&cwd), EXCEL]));
    client.tools();
    assert!(read(&mut client, "Tides").contains("Le Conquet"));
    assert!(read(&mut client, "Ebb").contains("Mont Saint-Michel"));
    assert!(client.close().0.success());
}

/// An Excel workbook of one sheet: text in one column, numbers in the next.
fn spreadsheet(sheet: &str, rows: [(&str, &str); 2]) -> Vec<u8> {
    const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>"#;
    const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006";
    const TYPE: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml";
    let relation = |kind: &str, target: &str| {
        format!(
            r#"{HEAD}<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r1" Type="{OFFICE}/{kind}" Target="{target}"/></Relationships>"#
        )
    };
    let cells: String = (1..)
        .zip(rows)
        .map(|(row, (name, number))| {
            format!(
                r#"<row r="{row}"><c r="A{row}" t="inlineStr"><is><t>{name}</t></is></c><c r="B{row}"><v>{number}</v></c></row>"#
            )
        })
        .collect();
    zip(&[
        (
            "[Content_Types].xml",
            format!(
                r#"{HEAD}<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType="{TYPE}.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType="{TYPE}.worksheet+xml"/></Types>"#
            ),
        ),
        ("_rels/.rels", relation("officeDocument", "xl/workbook.xml")),
        (
            "xl/workbook.xml",
            format!(
                r#"{HEAD}<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets><sheet name="{sheet}" sheetId="1" r:id="r1"/></sheets></workbook>"#
            ),
        ),
        ("xl/_rels/workbook.xml.rels", relation("worksheet", "worksheets/sheet1.xml")),
        (
            "xl/worksheets/sheet1.xml",
            format!(
                r#"{HEAD}<worksheet xmlns="{MAIN}"><dimension ref="A1:B{}"/><sheetData>{cells}</sheetData></worksheet>"#,
                rows.len()
            ),
        ),
    ])
}

/// A ZIP archive (APPNOTE.TXT 4.3.6) of files that are stored as they are.
fn zip(files: &[(&str, String)]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    let number = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
    let short = |value: usize| u16::try_from(value).unwrap().to_le_bytes();
    for (name, text) in files {
        let offset = number(archive.len());
        let sizes = [number(text.len()), number(text.len())].concat();
        // Version 2.0; no flags, stored, midnight of 1980-01-01.
        let common = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0][..],
            &crc32(text.as_bytes()).to_le_bytes(),
            &sizes,
            &short(name.len()),
            &[0, 0],
        ]
        .concat();
        archive.extend([b"PK\x03\x04", &common[..], name.as_bytes(), text.as_bytes()].concat());
        directory.extend([b"PK\x01\x02\x14\0", &common[..], &[0; 10], &offset, name.as_bytes()].concat());
    }
    let (start, count) = (number(archive.len()), short(files.len()));
    archive.extend(&directory);
    archive.extend(
        [b"PK\x05\x06\0\0\0\0", &count[..], &count, &number(directory.len()), &start, &[0, 0]].concat(),
    );
    archive
}

/// The checksum of ZIP archives (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { 0xEDB8_8320 } else { 0 })
    })
}
