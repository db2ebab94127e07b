//! The page of a run, or of several side by side, as one file that needs no server and no network: what it shows is inlined.

use data_encoding::BASE64;
use ring::digest::{SHA256, digest};
use serde::Serialize;

use crate::Status;
use crate::page::{
    APP, COMPARISON, COMPARISON_PAGE, EVALUATION, PAGE, PARTS, STYLE, UPLOT, UPLOT_STYLE,
};
use crate::value::Comparison;

/// The file of a run.
pub fn html(status: &Status) -> String {
    file(PAGE, &[UPLOT, PARTS, EVALUATION, APP], "inlined-status", status)
}

/// The file of several runs.
pub fn comparison_html(comparison: &Comparison) -> String {
    file(COMPARISON_PAGE, &[UPLOT, PARTS, COMPARISON], "inlined-comparison", comparison)
}

/// A page with its scripts, and what these show in an element of that name.
fn file(page: &str, scripts: &[&str], id: &str, shown: &impl Serialize) -> String {
    let json = serde_json::to_string(shown).unwrap_or_default();
    // Nothing in it can end the element that it is in, or begin another.
    let json = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let styles = [UPLOT_STYLE, STYLE];
    let sources = |all: &[&str]| all.iter().map(|text| source(text)).collect::<Vec<_>>().join(" ");
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'",
        sources(scripts),
        sources(&styles)
    );
    let (head, rest) = page.split_once("<title>").unwrap_or_default();
    let (_, body) = rest.split_once("</head>").unwrap_or_default();
    let (body, end) = body.split_once("</body>").unwrap_or_default();
    let element = |name: &str, content: &str| format!("<{name}>{content}</{name}>\n");
    let mut file = String::with_capacity(json.len() + (128 << 10));
    file += head;
    file += &format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n");
    file += "<title>Lockstep</title>\n";
    styles.iter().for_each(|style| file += &element("style", style));
    file += "</head>";
    file += body;
    file += &format!("<script type=\"application/json\" id=\"{id}\">{json}</script>\n");
    scripts.iter().for_each(|script| file += &element("script", script));
    file + "</body>" + end
}

/// How a policy names a piece of script or style.
fn source(text: &str) -> String {
    format!("'sha256-{}'", BASE64.encode(digest(&SHA256, text.as_bytes()).as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Run;

    #[test]
    fn nothing_in_a_status_can_leave_its_element() {
        let name = "</script><script>alert(1)</script><!--&amp;".to_string();
        let status =
            Status { run: Run { name: name.clone(), ..Run::default() }, ..Status::default() };
        let file = html(&status);
        let (_, rest) = file.split_once("id=\"inlined-status\">").unwrap();
        let (json, _) = rest.split_once("</script>").unwrap();
        assert!(!json.contains(['<', '>', '&']), "{json}");
        assert_eq!(serde_json::from_str::<Status>(json).unwrap().run.name, name);
    }

    #[test]
    fn the_files_ask_for_nothing() {
        let files = [html(&Status::default()), comparison_html(&Comparison::default())];
        let scripts = [&[UPLOT, PARTS, EVALUATION, APP][..], &[UPLOT, PARTS, COMPARISON]];
        for (file, scripts) in files.iter().zip(scripts) {
            assert!(!file.contains(" src=") && !file.contains(" href="), "it names another file");
            for piece in scripts.iter().chain(&[STYLE, UPLOT_STYLE]) {
                assert!(file.contains(piece) && file.contains(&source(piece)));
                assert!(!piece.contains("</s"), "it would end its own element");
            }
            assert!(file.contains("default-src 'none'"));
        }
    }
}
