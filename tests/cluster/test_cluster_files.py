"""The files that start clusters, as far as a machine without any cluster can tell."""

import copy
import re
import shlex
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from ray.autoscaler._private.kuberay import autoscaling_config
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray_cli
from ray.scripts.scripts import start as ray_start
from ruamel.yaml import YAML

from orchestrator.cluster.processes.session import slots
from orchestrator.study.spec import ResourcesOptions
from orchestrator.study.study_file import load_study

ROOT = Path(__file__).parents[2]
AWS, ON_PREMISE = "cluster.yaml", "cluster-on-premise.yaml"
KUBERNETES = "cluster-kubernetes.yaml"
COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
# As EC2's RunInstances names them; botocore's own model is asked too.
EC2 = {
    "InstanceType": str,
    "ImageId": str,
    "MetadataOptions": {"HttpTokens": str, "HttpPutResponseHopLimit": int},
    "IamInstanceProfile": {"Name": str},
    "InstanceMarketOptions": {"MarketType": str},
    "BlockDeviceMappings": [
        {
            "DeviceName": str,
            "Ebs": {
                "VolumeSize": int,
                "VolumeType": str,
                "Encrypted": bool,
                "DeleteOnTermination": bool,
            },
        }
    ],
}
START_OPTIONS = {option for parameter in ray_start.params for option in parameter.opts}


def read(name):
    return YAML(typ="safe").load(ROOT / name)


@pytest.fixture(params=[AWS, ON_PREMISE])
def config(request):
    return read(request.param)


def commands(config):
    return [command for kind in COMMANDS for command in config.get(kind, [])]


def test_ray_accepts_the_cluster_file(config):
    validate_config(prepare_config(config))


def test_rays_schema_rejects_wrong_values(config):
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        validate_config(prepare_config({**config, "idle_timeout": 10}))


def test_every_command_is_valid_bash(config):
    for command in commands(config):
        subprocess.run(["bash", "-n", "-c", command], check=True)


def test_ray_starts_with_valid_options_a_token_and_a_dashboard_on_the_head_only(config):
    for kind in ("head", "worker"):
        *_, command = config[f"{kind}_start_ray_commands"]
        environment, _, call = command.partition("ray start ")
        assert "RAY_AUTH_MODE=token" in environment
        options = {word.partition("=")[0] for word in shlex.split(call) if word.startswith("--")}
        assert options <= START_OPTIONS
        assert ("--dashboard-host=127.0.0.1" in call) == (kind == "head")
    assert "IpPermissions" not in str(config)
    assert "0.0.0.0" not in str(config)


def test_mounted_files_exist_and_a_command_of_ray_creates_the_token(config):
    sources = dict(config["file_mounts"])
    token = sources.pop("~/.ray/auth_token")
    assert token == "~/.ray/auth_token"
    assert "get-auth-token" in ray_cli.commands
    for target, source in sources.items():
        assert (ROOT / source).exists()
        assert target == f"~/margin-study/{source}"
    copied = set(sources.values())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"], "pyproject.toml"} <= copied
    assert "constraints.txt" in copied


def test_the_project_is_installed_with_its_constraints(config):
    installs = [c for c in config["setup_commands"] if "pip install" in c]
    assert installs
    assert all("-c constraints.txt" in command for command in installs)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "-e '.[cluster]'" in installs[-1]
    assert "cluster" in extras["optional-dependencies"]
    assert f"ray=={version('ray')}\n" in (ROOT / "constraints.txt").read_text()


def problems_with(content, expected, path=""):
    if isinstance(expected, dict):
        for name, part in content.items():
            if name in expected:
                yield from problems_with(part, expected[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(expected, list):
        for part in content:
            yield from problems_with(part, expected[0], path)
    elif type(content) is not expected:
        yield path


def node_configs():
    return {name: kind["node_config"] for name, kind in read(AWS)["available_node_types"].items()}


def test_node_types_use_only_fields_of_ec2():
    for node in node_configs().values():
        assert list(problems_with(node, EC2)) == []
        assert node["MetadataOptions"]["HttpTokens"] == "required"
    wrong = copy.deepcopy(node)
    wrong["BlockDeviceMappings"][0]["Ebs"]["VolumeTyp"] = "gp3"
    assert list(problems_with(wrong, EC2)) == [".BlockDeviceMappings.Ebs.VolumeTyp"]


def test_botocore_accepts_the_node_types():
    model = ServiceModel(Loader().load_service_model("ec2", "service-2"))
    shape = model.operation_model("RunInstances").input_shape
    for node in node_configs().values():
        whole = {**node, "MinCount": 1, "MaxCount": 1}
        report = ParamValidator().validate(whole, shape)
        assert not report.has_errors(), report.generate_report()
        assert ParamValidator().validate({**whole, "InstanceTyp": "x"}, shape).has_errors()


def test_only_trials_run_on_spot_nodes_and_nothing_on_the_head():
    types = read(AWS)["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    spot = {name for name, node in node_configs().items() if "InstanceMarketOptions" in node}
    assert spot == {"gpu_spot"}
    assert "--num-cpus=0" in read(ON_PREMISE)["head_start_ray_commands"][-1]


def test_nodes_that_write_results_have_access_to_their_bucket():
    # The head has the role that Ray makes for it, which may; one of ours would replace it.
    profiles = {name: node.get("IamInstanceProfile") for name, node in node_configs().items()}
    assert profiles.pop("head") is None
    assert all(profile == {"Name": "margin-study-results"} for profile in profiles.values())


def largest(types):
    """All that a cluster's autoscaler may start."""
    total: dict[str, float] = {}
    for kind in types.values():
        for name, amount in kind["resources"].items():
            total[name] = total.get(name, 0) + amount * kind.get("max_workers", 1)
    return total


def test_the_resources_advised_in_comments_fit():
    asked = {}
    for text in re.findall(r"`resources: (\{.*\})`", (ROOT / AWS).read_text()):
        asked.update(YAML(typ="safe").load(text))
    assert asked.keys() == {"trial", "measurer"}
    total = largest(read(AWS)["available_node_types"])
    found = slots(total, ResourcesOptions.model_validate(asked))
    assert (found.trials, found.most_measurers) == (8, 32)


@pytest.fixture
def ray_job():
    return read(KUBERNETES)


def test_kuberays_autoscaler_can_read_the_cluster(ray_job):
    cluster = {
        "metadata": {"name": "margin-study", "namespace": "default"},
        "spec": ray_job["spec"]["rayClusterSpec"],
    }
    read = autoscaling_config._derive_autoscaling_config_from_ray_cr(cluster)
    assert read["idle_timeout_minutes"] == 10
    types = {name: kind["resources"] for name, kind in read["available_node_types"].items()}
    assert types.pop("headgroup")["CPU"] == 0
    assert types["gpu-spot"]["GPU"] == 1
    assert types["cpu-measure"]["measure"] == 16
    assert "GPU" not in types["cpu-measure"]


def test_the_ray_job_is_valid_for_this_project_and_ray(ray_job):
    assert (ray_job["apiVersion"], ray_job["kind"]) == ("ray.io/v1", "RayJob")
    spec = ray_job["spec"]
    known = {"entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished"}
    assert spec.keys() == known | {"rayClusterSpec"}
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == version("ray")
    assert f"rayproject/ray:{version('ray')}-" in (ROOT / KUBERNETES).read_text()
    assert cluster["authOptions"] == {"mode": "token"}
    *python, command, study = shlex.split(spec["entrypoint"])[:5]
    assert (python, command) == (["python", "-m", "orchestrator"], "run")
    load_study(ROOT / Path(study).relative_to("/home/ray/margin-study"))


def test_every_pod_mounts_the_results_folder_of_the_job(ray_job):
    words = shlex.split(ray_job["spec"]["entrypoint"])
    results = Path(words[words.index("--results") + 1])
    cluster = ray_job["spec"]["rayClusterSpec"]
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        [container] = pod["containers"]
        [mount] = container["volumeMounts"]
        assert mount["name"] in volumes
        assert Path(mount["mountPath"]) in results.parents
        assert all(f"--{name}" in START_OPTIONS for name in group["rayStartParams"])
