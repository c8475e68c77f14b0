from specdm.doctor.commands import Ran
from specdm.doctor.tools import conda, containers


def test_what_is_not_there_is_told_with_what_it_is_for(programs):
    nowhere = programs({})
    assert conda(nowhere.run, nowhere.find).lines == ("not found (needed only for --sdm conda)",)
    assert "needed only" in containers(nowhere.run, nowhere.find).lines[0]
    assert conda(nowhere.run, nowhere.find).missing == containers(nowhere.run, nowhere.find).missing == ()


def test_what_is_there_tells_its_version(programs):
    have = programs(
        {
            "conda --version": Ran(0, "conda 26.5.1\n"),
            "apptainer --version": Ran(0, "apptainer version 1.4.2\n"),
            "singularity": Ran(1, "broken", ""),
        }
    )
    assert conda(have.run, have.find).lines == ("conda 26.5.1",)
    assert containers(have.run, have.find).lines == ("apptainer version 1.4.2", "singularity, which fails")
