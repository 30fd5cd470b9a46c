import pytest
import torch
import torch.nn.functional as F

from spacy_elmo_ulmfit.modules.distillation import distillation_loss
from spacy_elmo_ulmfit.modules.heads import Softmax


def inputs(n_rows, n_words=11):
    torch.manual_seed(n_rows)
    hidden = torch.randn(n_rows, 4, requires_grad=True)
    weight = torch.randn(n_words, 4, requires_grad=True)
    bias = torch.randn(n_words, requires_grad=True)
    teacher = Softmax(torch.randn(n_words, 6), torch.randn(n_words))
    targets = torch.randint(n_words, (n_rows,))
    return hidden, weight, bias, targets, torch.randn(n_rows, 6), teacher


@pytest.mark.parametrize("share, temperature", [(0.0, 1.0), (0.3, 2.0), (1.0, 0.5)])
@pytest.mark.parametrize("n_rows", [1, 256, 600])
def test_value_and_gradients_are_those_of_the_plain_form(n_rows, share, temperature):
    hidden, weight, bias, targets, teacher_hidden, teacher = inputs(n_rows)
    found = distillation_loss(
        hidden,
        targets,
        Softmax(weight, bias),
        teacher_hidden,
        teacher,
        share=share,
        temperature=temperature,
    )
    logits = F.linear(hidden, weight, bias)
    p = (F.linear(teacher_hidden, teacher.weight, teacher.bias) / temperature).softmax(
        1
    )
    q = (logits / temperature).softmax(1)
    divergence = (p * (p / q).log()).sum()
    wanted = (1 - share) * F.cross_entropy(logits, targets, reduction="sum")
    wanted = wanted + share * temperature**2 * divergence
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    leaves = [hidden, weight, bias]
    for one, other in zip(
        torch.autograd.grad(found * 0.5, leaves),
        torch.autograd.grad(wanted * 0.5, leaves),
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_student_like_its_teacher_has_nothing_to_learn_from_it():
    hidden, _, _, targets, teacher_hidden, teacher = inputs(5)
    loss = distillation_loss(
        teacher_hidden,
        targets,
        teacher,
        teacher_hidden,
        teacher,
        share=1.0,
        temperature=2,
    )
    assert float(loss) == pytest.approx(0.0, abs=1e-5)


def test_no_rows_have_no_loss():
    hidden, weight, bias, targets, teacher_hidden, teacher = inputs(2)
    none = slice(0, 0)
    loss = distillation_loss(
        hidden[none],
        targets[none],
        Softmax(weight, bias),
        teacher_hidden[none],
        teacher,
        share=0.5,
        temperature=1.0,
    )
    assert float(loss) == 0.0
