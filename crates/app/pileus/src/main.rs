//! `pileus`: the commands, and the processes that the engine starts by hidden ones.
//!
//! A command is a file in `commands`; it talks to a running engine over the AWS APIs, as any client does, and finds it
//! through `link`. Only `engine` is the engine itself.

mod app;
mod cli;
mod commands;
mod env;
mod failure;
mod format;
mod image_name;
mod link;
mod printer;
mod progress;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use pileus_engine::{BALANCER_COMMAND, Home, RESOLVER_COMMAND, SHIM_COMMAND};

use cli::{Cli, Command};
use failure::{Exit, Failure};
use printer::Printer;

fn main() -> ExitCode {
    // The processes of the machine come before everything else: a shim must be a single thread with nothing open.
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.split_first() {
        Some((command, rest)) if command == SHIM_COMMAND => commands::hidden::shim(rest),
        Some((command, rest)) if command == BALANCER_COMMAND => commands::hidden::balancer(rest),
        Some((command, rest)) if command == RESOLVER_COMMAND => commands::hidden::resolver(rest),
        _ => command(Cli::parse()),
    }
}

fn command(cli: Cli) -> ExitCode {
    let mut printer = Printer::new();
    let exit = run(cli, &mut printer).unwrap_or_else(|failure| {
        printer.failure(&failure);
        failure.exit
    });
    printer.clear();
    exit.into()
}

fn run(cli: Cli, printer: &mut Printer) -> Result<Exit, Failure> {
    let home = cli.home.unwrap_or_else(Home::default_path);
    match cli.command {
        Command::Up(arguments) => commands::up::run(&arguments, &home, printer),
        Command::Status(arguments) => commands::status::run(&arguments, &home, printer),
        Command::Logs(arguments) => commands::logs::run(&arguments, &home, printer),
        Command::Image(arguments) => commands::image::run(&arguments.command, &home, printer),
        Command::Down(arguments) => commands::down::run(&arguments, &home, printer),
        Command::Start(options) => commands::start::run(&options, &home, printer),
        Command::Stop => commands::stop::run(&home, printer),
        Command::Engine(arguments) => commands::engine::run(&arguments, &home),
        Command::Doctor(arguments) => commands::doctor::run(&arguments, &home, printer),
    }
}
