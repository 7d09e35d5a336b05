"""Ray marching against a loop over all steps of all rays, and updates of the occupancy grid."""

import pytest
import torch
from threestudio_rsd.standalone.models.renderers import occupancy
from threestudio_rsd.standalone.models.renderers.occupancy import OccupancyGrid, is_seen, march_rays

BOX = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def random_rays(n=40, seed=0):
    """Rays from around the box, most of them through it; some along an axis."""
    generator = torch.Generator().manual_seed(seed)
    origins = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=-1) * 2.5
    targets = torch.rand(n, 3, generator=generator) * 2.4 - 1.2
    directions = torch.nn.functional.normalize(targets - origins, dim=-1)
    origins[:3] = torch.tensor([0.1, 0.2, 0.3]) - 2.5 * torch.eye(3)
    directions[:3] = torch.eye(3)
    return origins, directions


def random_grids(n=1, size=8, share=0.3):
    return torch.rand(n, size, size, size, generator=torch.Generator().manual_seed(1)) < share


def march_by_loop(origins, directions, occupied, step_size, near=0.0, far=1e10, jitter=None):
    """Slow reference of `march_rays`: list of (ray, index of the step)."""
    size = occupied.shape[-1]
    found = []
    for ray in range(len(origins)):
        start = near + (0 if jitter is None else float(jitter[ray]) * step_size)
        for step in range(int(6 / step_size)):
            middle = start + (step + 0.5) * step_size
            cell = ((origins[ray] + middle * directions[ray] + 1) / 2 * size).floor().long()
            if middle < far and (cell >= 0).all() and (cell < size).all() and occupied[tuple(cell)]:
                found.append((ray, step))
    return found


def numbered(ray_indices, t_starts, step_size, near=0.0, jitter=None):
    start = near + (0 if jitter is None else jitter[ray_indices] * step_size)
    return list(zip(ray_indices.tolist(), ((t_starts - start) / step_size).round().long().tolist(), strict=True))


@pytest.mark.parametrize(
    ("near", "far", "stratified"), [(0.0, 1e10, False), (0.0, 1e10, True), (2.0, 3.0, True), (9.0, 1e10, False)]
)
def test_march_equals_the_loop_over_steps(near, far, stratified):
    origins, directions = random_rays()
    grid = random_grids()
    jitter = torch.rand(len(origins)) if stratified else None
    ray_indices, t_starts, t_ends = march_rays(origins, directions, grid, BOX, 0.07, near, far, jitter)
    expected = march_by_loop(origins, directions, grid[0], 0.07, near, far, jitter)
    assert numbered(ray_indices, t_starts, 0.07, near, jitter) == expected
    torch.testing.assert_close(t_ends - t_starts, torch.full_like(t_starts, 0.07), atol=1e-6, rtol=0)
    assert len(expected) > 100 or near > 5


def test_samples_of_neighboring_cells_join_without_a_gap():
    origins, directions = random_rays()
    _, t_starts, t_ends = march_rays(origins, directions, torch.ones(1, 4, 4, 4, dtype=torch.bool), BOX, 0.1)
    inner = t_starts[1:] > t_starts[:-1]
    assert torch.equal(t_ends[:-1][inner], t_starts[1:][inner])


def test_a_camera_inside_the_box_looks_ahead_only():
    origins, directions = torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.0]])
    _, t_starts, t_ends = march_rays(origins, directions, torch.ones(1, 4, 4, 4, dtype=torch.bool), BOX, 0.25)
    assert t_starts.tolist() == [0, 0.25, 0.5, 0.75]
    assert t_ends.tolist() == [0.25, 0.5, 0.75, 1]


def test_rays_that_miss_and_empty_grids_give_no_samples():
    origins, directions = random_rays()
    full = torch.ones(1, 4, 4, 4, dtype=torch.bool)
    for rays, grid in [((origins, -directions), full), ((origins, directions), ~full), ((origins[:0],) * 2, full)]:
        for part in march_rays(*rays, grid, BOX, 0.1):
            assert part.shape == (0,)


def test_one_call_for_several_grids_equals_the_loop_over_grids():
    origins, directions = random_rays()
    grids = torch.cat([random_grids(2), torch.zeros(1, 8, 8, 8, dtype=torch.bool), random_grids(1, share=0.01)])
    n, p = len(origins), len(grids)
    jitter = torch.rand(p, n)
    together = march_rays(
        origins.repeat(p, 1),
        directions.repeat(p, 1),
        grids,
        BOX,
        0.07,
        jitter=jitter.reshape(-1),
        grid_of_ray=torch.arange(p).repeat_interleave(n),
    )
    parts = [march_rays(origins, directions, grids[i : i + 1], BOX, 0.07, jitter=jitter[i]) for i in range(p)]
    assert torch.equal(together[0], torch.cat([part[0] + i * n for i, part in enumerate(parts)]))
    for column in (1, 2):
        assert torch.equal(together[column], torch.cat([part[column] for part in parts]))


def test_blocks_do_not_change_the_samples(monkeypatch):
    origins, directions = random_rays()
    whole = march_rays(origins, directions, random_grids(), BOX, 0.07)
    monkeypatch.setattr(occupancy, "LOOKUPS_AT_ONCE", 100)
    for one, other in zip(march_rays(origins, directions, random_grids(), BOX, 0.07), whole, strict=True):
        assert torch.equal(one, other)


def ball_opacity(points):
    """0.5 inside a ball of radius 0.5, else 0: (M, 1)."""
    return 0.5 * (points.norm(dim=-1, keepdim=True) < 0.5).float()


def centers(size=32):
    middles = (torch.arange(size) + 0.5) * 2 / size - 1
    return torch.stack(torch.meshgrid(middles, middles, middles, indexing="ij"), -1)


def test_warm_up_finds_the_occupied_cells_and_no_others():
    grid = OccupancyGrid(BOX)
    grid.update_every_n_steps(0, ball_opacity)
    distance = centers().norm(dim=-1)
    half_diagonal = 3**0.5 / 32
    assert grid.binaries[0][distance < 0.5 - half_diagonal].all()
    assert not grid.binaries[0][distance > 0.5 + half_diagonal].any()


def test_the_grid_is_updated_every_sixteenth_step():
    looks = []
    grid = OccupancyGrid(BOX, 4)
    for step in range(40):
        grid.update_every_n_steps(step, lambda points: looks.append(len(points)) or points[:, :1] * 0)
    assert looks == [64, 64, 64]


def test_after_the_warm_up_random_and_occupied_cells_are_updated():
    grid = OccupancyGrid(BOX)
    grid.update_every_n_steps(0, ball_opacity)
    occupied = grid.binaries.flatten().nonzero()[:, 0]
    cells = grid.choose_cells(step=256)
    quarter = 32**3 // 4
    assert len(occupied) < quarter
    assert torch.equal(cells[quarter:], occupied)
    grid.binaries.fill_(True)
    assert len(grid.choose_cells(step=256)) == 2 * quarter


def test_points_lie_in_their_cells():
    grid = OccupancyGrid(torch.tensor([[0.0, 0.0, 0.0], [4.0, 8.0, 16.0]]), 4)
    points = grid.points_in(torch.tensor([0, 1, 4, 16, 63])) / torch.tensor([1.0, 2.0, 4.0])
    assert points.floor().tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [3, 3, 3]]


def test_cells_decay_when_the_field_is_empty_there():
    grid = OccupancyGrid(BOX, 2)
    grid.absorb(torch.tensor([0, 1]), torch.tensor([[0.5], [0.001]]))
    assert grid.binaries.flatten().nonzero()[:, 0].tolist() == [0]
    grid.absorb(torch.tensor([0, 0]), torch.zeros(2))
    assert grid.occs[:2].tolist() == pytest.approx([0.475, 0.001])
    for _ in range(200):
        grid.absorb(torch.arange(8), torch.zeros(8))
    assert grid.occs.max() < 1e-4


def test_a_cell_that_occurs_twice_keeps_the_larger_value():
    grid = OccupancyGrid(BOX, 2)
    grid.absorb(torch.tensor([3, 3, 3]), torch.tensor([0.1, 0.7, 0.2]))
    assert grid.occs[3].item() == pytest.approx(0.7)


def test_hidden_and_transparent_samples_are_left_out():
    ray_indices = torch.tensor([0, 0, 0, 1])
    t_starts, t_ends = torch.tensor([0.0, 1, 2, 0]), torch.tensor([1.0, 2, 3, 1])
    densities = torch.tensor([20.0, 1.0, 20.0, 1e-4])
    assert is_seen(t_starts, t_ends, densities, ray_indices, 2, alpha_thre=0.01).tolist() == [True, False, False, False]
    assert is_seen(t_starts, t_ends, densities, ray_indices, 2).tolist() == [True, False, False, True]
    own = torch.tensor([0.01, 0.01, 0.01, 1e-5])
    assert is_seen(t_starts, t_ends, densities, ray_indices, 2, 0.0, own).tolist() == [True, True, True, True]


def test_sampling_skips_what_cannot_be_seen_and_keeps_the_rest():
    grid = OccupancyGrid(BOX, 4)
    grid.occs.fill_(1)
    grid.binaries.fill_(True)
    origins, directions = torch.tensor([[-2.0, 0, 0]]), torch.tensor([[1.0, 0, 0]])

    def wall(t_starts, t_ends, ray_indices):
        return torch.where(t_starts > 1.9, 1000.0, 0.0)

    _, everything, _ = grid.sampling(origins, directions, None, render_step_size=0.1)
    assert len(everything) == 20
    _, t_starts, _ = grid.sampling(origins, directions, wall, render_step_size=0.1, alpha_thre=0.01)
    assert len(t_starts) == 1
    torch.testing.assert_close(t_starts, torch.tensor([2.0]), atol=0.11, rtol=0)


def test_the_threshold_is_no_higher_than_the_mean_of_the_grid():
    grid = OccupancyGrid(BOX, 4)
    grid.occs.fill_(1e-4)
    grid.binaries.fill_(True)
    origins, directions = torch.tensor([[-2.0, 0, 0]]), torch.tensor([[1.0, 0, 0]])
    faint = {"sigma_fn": lambda t_starts, t_ends, rays: torch.full_like(t_starts, 1e-2), "render_step_size": 0.1}
    assert len(grid.sampling(origins, directions, alpha_thre=0.01, **faint)[0]) == 20


def test_state_survives_saving_and_has_the_names_of_nerfacc():
    grid = OccupancyGrid(BOX)
    grid.update_every_n_steps(0, ball_opacity)
    state = {name: tensor.clone() for name, tensor in grid.state_dict().items()}
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
        "resolution": (3,),
        "aabbs": (1, 6),
        "occs": (32**3,),
        "binaries": (1, 32, 32, 32),
    }
    other = OccupancyGrid(BOX * 3)
    other.load_state_dict(state)
    rays = random_rays()
    for one, another in zip(
        grid.sampling(*rays, render_step_size=0.05), other.sampling(*rays, render_step_size=0.05), strict=True
    ):
        assert torch.equal(one, another)
