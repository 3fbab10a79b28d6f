//! `[[class]]` and `[[exempt]]`: what usage matches.

use super::section::{Problems, Section, Value};
use super::word;
use crate::flow::Family;
use crate::rate::class::{Class, ClassMatch, Exemption};

/// `[[class]]`; `None` for those that are wrong.
pub(super) fn read_classes(root: &Section<'_>, problems: &mut Problems) -> Vec<Option<Class>> {
    let sections = root.tables("class", "[[class]]", problems);
    let mut classes: Vec<Option<Class>> = Vec::new();
    for (at, section) in sections.iter().enumerate() {
        section.only(&["name", "match"], problems);
        let name = section.need_text("name", problems).and_then(|(name, span)| {
            if classes.iter().flatten().any(|class| class.name == name) {
                problems.add(span.clone(), format!("class `{name}` is there twice"), "");
            }
            word((name, span), "name", problems)
        });
        let matches = section.need("match", problems).and_then(|value| read_match(value, problems));
        let last = at + 1 == sections.len();
        if let Some(matches) = &matches {
            if last && !matches.is_catch_all() {
                let message = "the last class must match everything, so that no usage is without a class";
                problems.add(section.span.clone(), message, "add a class with `match = {}` after it");
            }
            if !last && matches.is_catch_all() {
                let message = "the classes after this one are never reached, because it matches everything";
                problems.add(section.span.clone(), message, "must be the last");
            }
            if let Some(same) =
                classes.iter().flatten().find(|class| class.matches == *matches && !matches.is_catch_all())
            {
                let message = format!("this class is never reached: class `{}` matches the same", same.name);
                problems.add(section.span.clone(), message, "");
            }
        }
        classes.push(name.zip(matches).map(|(name, matches)| Class { name, matches }));
    }
    if root.get("class").is_none_or(super::is_empty_list) {
        let message = "there is no [[class]]: at least one with `match = {}` is needed";
        problems.add(0..0, message, "");
    }
    classes
}

/// `[[exempt]]`. `charges` are the ids of all charges that are about usage.
pub(super) fn read_exemptions(
    root: &Section<'_>,
    charges: &[&str],
    problems: &mut Problems,
) -> Vec<Option<Exemption>> {
    let mut exemptions: Vec<Option<Exemption>> = Vec::new();
    for section in root.tables("exempt", "[[exempt]]", problems) {
        section.only(&["name", "match", "charge"], problems);
        let name = section.need_text("name", problems).and_then(|found| word(found, "name", problems));
        let matches = section.need("match", problems).and_then(|value| read_match(value, problems));
        if matches.as_ref().is_some_and(ClassMatch::is_catch_all) {
            let message = "this exempts everything; leave the charge out instead";
            problems.add(section.span.clone(), message, "say what is exempt");
        }
        let mut chosen = Vec::new();
        for (id, span) in section.texts("charge", problems) {
            if !charges.contains(&id) {
                problems.add(span, format!("there is no charge `{id}` by volume or percentile"), "");
            }
            chosen.push(id.to_owned());
        }
        let made = name.zip(matches).map(|(name, matches)| Exemption { name, matches, charges: chosen });
        exemptions.push(made);
    }
    exemptions
}

fn read_match(value: &Value<'_>, problems: &mut Problems) -> Option<ClassMatch> {
    let section = Section::of(value, "`match`", problems)?;
    let before = problems.0.len();
    for key in ["protocol", "port", "prefix", "asn", "dscp"] {
        if let Some(value) = section.get(key) {
            let message = format!(
                "`{key}` is not kept with usage: give such flows a [[traffic_class]] in the configuration, and match that"
            );
            problems.add(value.span(), message, "use `traffic_class`");
        }
    }
    if problems.0.len() == before {
        section.only(&["link", "link_kind", "traffic_class", "family", "exporter"], problems);
    }
    let mut patterns = |key: &str| -> Vec<String> {
        section.texts(key, problems).into_iter().map(|(text, _)| text.to_owned()).collect()
    };
    let (link, link_kind) = (patterns("link"), patterns("link_kind"));
    let (traffic_class, exporter) = (patterns("traffic_class"), patterns("exporter"));
    let mut family = Vec::new();
    for (name, span) in section.texts("family", problems) {
        let known =
            [Family::V4, Family::V6, Family::Other].into_iter().find(|family| family.as_str() == name);
        match known {
            Some(known) => family.push(known),
            None => problems.add(
                span,
                format!("`{name}` is not an address family"),
                "expected ipv4, ipv6 or other",
            ),
        }
    }
    // A broken match must not pass for a narrower or wider one in the checks that follow.
    (problems.0.len() == before).then_some(ClassMatch { link, link_kind, traffic_class, family, exporter })
}
