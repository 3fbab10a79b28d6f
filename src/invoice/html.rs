//! An invoice as a page for reading and printing: A4, one file, nothing loaded from elsewhere.
//!
//! It is made from a [`Page`] by a template in the language of Jinja: the one that is built in (`templates/invoice.html`,
//! a good place to begin), or the operator's own, which the document names by its hash. Whatever a template prints is
//! escaped, and what it asks for and is not there is an error, not a blank.

use minijinja::{Environment, UndefinedBehavior, context};

use super::Invoice;
use super::page::Page;
use super::presentation::{Assets, Missing, data_uri};

/// The template that is built in.
pub const TEMPLATE: &str = include_str!("templates/invoice.html");
/// Steps that a template may take for one page: a loop without an end is an error.
const FUEL: u64 = 20_000_000;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that the document names is not there.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The template is not one, or asks for what there is not.
    #[error("the template of the page cannot be used: {}", .0.display_debug_info().to_string().lines().next().unwrap_or_default())]
    Template(#[from] minijinja::Error),
    /// The template is no text.
    #[error("the template of the page is not UTF-8")]
    Encoding,
}

/// The page.
///
/// # Errors
/// [`Error`].
pub fn write(invoice: &Invoice, assets: &Assets) -> Result<String, Error> {
    let mut page = Page::of(invoice);
    let presentation = &invoice.presentation;
    if let Some(logo) = assets.get("logo", presentation.logo.as_ref())? {
        page.logo = data_uri(logo);
    }
    let template = match assets.get("template", presentation.template.as_ref())? {
        Some(template) => core::str::from_utf8(&template.content).map_err(|_| Error::Encoding)?,
        None => TEMPLATE,
    };
    Ok(environment(template)?
        .get_template(NAME)?
        .render(context! { page, page_foot => css_string(&page.number) })?)
}

/// Whether a text is a template; it may still ask for what there is not.
///
/// # Errors
/// [`Error::Template`].
pub fn check(template: &str) -> Result<(), Error> {
    Ok(environment(template).map(drop)?)
}

/// The name says that what is printed is HTML, and is escaped so.
const NAME: &str = "invoice.html";

fn environment(template: &str) -> Result<Environment<'_>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_keep_trailing_newline(true);
    environment.set_fuel(Some(FUEL));
    environment.add_template(NAME, template)?;
    Ok(environment)
}

/// The inside of a CSS string (CSS Syntax 3, 4.3.7): everything but plain characters as a code point. Nothing can
/// end the string or the style element with that.
fn css_string(text: &str) -> String {
    use core::fmt::Write;
    text.chars().fold(String::new(), |mut css, c| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ') {
            css.push(c);
        } else {
            write!(css, "\\{:06X}", u32::from(c)).expect("writing to a string does not fail");
        }
        css
    })
}
