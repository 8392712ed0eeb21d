"""Terraform with the AWS provider that this machine has, pointed at an engine."""

import functools
import json
import pathlib
import shutil
import subprocess

# Where installations and mirrors are, so that nothing of the host is searched that cannot hold a provider.
ROOTS = ("/opt", "/usr", "/root", "/home", "/var/lib", "/srv")


@functools.cache
def mirror():
    """The directory that holds `registry.terraform.io/hashicorp/aws/…` with a provider in it, or None."""
    roots = [root for root in ROOTS if pathlib.Path(root).is_dir()]
    found = subprocess.run(["find", *roots, "-xdev", "-path", "*/registry.terraform.io/hashicorp/aws/*",
                            "-name", "terraform-provider-aws*"], capture_output=True, text=True).stdout.splitlines()
    return pathlib.Path(found[0].split("/registry.terraform.io/")[0]) if found else None


def missing():
    """What of Terraform this machine lacks, or None."""
    if shutil.which("terraform") is None:
        return "terraform is not in the PATH"
    if mirror() is None:
        return f"no mirror of the AWS provider (registry.terraform.io/hashicorp/aws) below {', '.join(ROOTS)}"
    return None


class Terraform:
    """A configuration in a directory, and its state."""

    def __init__(self, directory, engine):
        self.directory = pathlib.Path(directory)
        config = self.directory / "cli.tfrc"
        config.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror()}"\n  }}\n}}\n')
        self.environment = engine.environment | {
            "TF_CLI_CONFIG_FILE": str(config), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_INPUT": "0",
        }
        for name in [name for name in self.environment if name.startswith("TF_VAR_")]:
            del self.environment[name]
        self("init", "-no-color")

    def __call__(self, *arguments, ok=(0,), timeout=600):
        command = ["terraform", *arguments]
        done = subprocess.run(command, cwd=self.directory, env=self.environment, capture_output=True, text=True,
                              timeout=timeout)
        assert done.returncode in ok, f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        return done

    def start(self, *arguments):
        """The command in the background."""
        return subprocess.Popen(["terraform", *arguments], cwd=self.directory, env=self.environment,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def apply(self, **variables):
        return self("apply", "-auto-approve", "-no-color", *flags(variables))

    def destroy(self, **variables):
        return self("destroy", "-auto-approve", "-no-color", *flags(variables))

    def assert_no_drift(self, **variables):
        """`plan` finds nothing to do."""
        plan = self("plan", "-detailed-exitcode", "-no-color", *flags(variables), ok=(0, 2))
        assert plan.returncode == 0, f"the plan is not clean:\n{plan.stdout[-8000:]}"

    def outputs(self):
        return {name: output["value"] for name, output in json.loads(self("output", "-json").stdout).items()}


def flags(variables):
    return [f"-var={name}={value}" for name, value in variables.items()]
